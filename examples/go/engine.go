package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	assayv1 "example.com/orchestrator/gen/assay/v1"
)

// Runtime starts and stops replicas on hosts. Both may be called again for what was done already.
type Runtime interface {
	Start(Binding) error
	Stop(Binding) error
}

// Engine places workloads and evacuates hosts that are CONTRAINDICATED. One goroutine does everything but read the watch.
type Engine struct {
	placement assayv1.PlacementServiceClient
	results   assayv1.AttestationResultServiceClient
	runtime   Runtime
	workloads []Workload
	state     *State
	evictions Budget
	log       *slog.Logger

	// What the watch has to say.
	events chan Event
	// Hosts that came since all present results were asked for; nil while no such list is under way.
	listed map[string]bool
	// When replicas without a host are looked after again, until when nothing is asked because the service could not tell, and when
	// evacuations that wait for their minute go on (zero: none waits).
	retryAt, notBefore, evacuateAt time.Time
	backoff                        Backoff
}

// Run works until ctx ends. It returns an error where a person must do something.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.restart(); err != nil {
		return err
	}
	e.events = make(chan Event)
	ended := make(chan error, 1)
	go func() { ended <- watch(ctx, e.results, e.state.ResumeToken, e.events, e.log) }()
	e.log.Info("the engine runs", "workloads", len(e.workloads), "bindings", len(e.state.Bindings))

	timer := time.NewTimer(0)
	for {
		select {
		case err := <-ended:
			return err
		case event := <-e.events:
			if err := e.handle(event); err != nil {
				return err
			}
		case <-timer.C:
			if err := e.lookBack(ctx); err != nil {
				return err
			}
			if err := e.evacuate(); err != nil {
				return err
			}
			if err := e.place(ctx); err != nil {
				return err
			}
		}
		timer.Reset(time.Until(e.wake()))
	}
}

// restart starts what is bound, and stops what nobody wants any more: the engine may have died in the middle of either.
func (e *Engine) restart() error {
	replicas := map[string]int{}
	for _, workload := range e.workloads {
		replicas[workload.Name] = workload.Replicas
	}
	for _, binding := range slices.Clone(e.state.Bindings) {
		act := e.runtime.Start
		if binding.Replica >= replicas[binding.Workload] {
			act = e.runtime.Stop
			e.state.Unbind(binding)
		}
		if err := act(binding); err != nil {
			return err
		}
	}
	return e.state.Save()
}

// wake tells when there is something to do that no event tells.
func (e *Engine) wake() time.Time {
	wake := e.retryAt
	if e.notBefore.After(wake) {
		wake = e.notBefore
	}
	if !e.evacuateAt.IsZero() && e.evacuateAt.Before(wake) {
		wake = e.evacuateAt
	}
	return wake
}

// handle does what one message asks for. The token is kept after what it stands for was done.
func (e *Engine) handle(event Event) error {
	// That a verdict holds on is no news here, and its token not worth a write.
	if event.Message.GetValidity() != nil {
		return nil
	}
	e.observe(event)
	if err := e.evacuate(); err != nil {
		return err
	}
	return e.state.Save()
}

// catchUp handles a message that waits: an evacuation is more urgent than the next placement.
func (e *Engine) catchUp() error {
	select {
	case event := <-e.events:
		return e.handle(event)
	default:
		return nil
	}
}

// observe takes one message in. It acts on nothing yet.
func (e *Engine) observe(event Event) {
	if event.Message == nil {
		e.log.Info("all results are asked for")
		e.state.ResumeToken, e.listed = "", map[string]bool{}
		return
	}
	e.state.ResumeToken = event.Message.GetResumeToken()
	if result := event.Message.GetChange().GetResult(); result != nil {
		e.take(result)
	}
	if removal := event.Message.GetRemoval(); removal != nil {
		// Deleted, or given to somebody else: nothing is known of it any more, which is no reason to kill what runs.
		delete(e.state.Contraindicated, removal.GetHost())
		delete(e.state.Unclear, removal.GetHost())
		e.warnOfUnknown(removal.GetHost(), removal.GetReason())
	}
	if event.Message.GetBookmark().GetSynced() && e.listed != nil {
		e.endList()
	}
}

func (e *Engine) take(result *assayv1.AttestationResult) {
	host := result.GetHost()
	if e.listed != nil {
		e.listed[host] = true
	}
	switch result.GetStatus() {
	case assayv1.TrustStatus_TRUST_STATUS_CONTRAINDICATED:
		e.state.Contraindicated[host] = true
		e.log.Warn("a host is contraindicated", "host", host, "reasons", failed(result))
		delete(e.state.Unclear, host)
	case assayv1.TrustStatus_TRUST_STATUS_NONE:
		// Nobody can say anything: nothing new goes there, and what runs stays. It is no acquittal either.
		if e.listed != nil && !e.state.Contraindicated[host] && unclear(result) && e.inUse(host) {
			// A list tells no more than the present: what came before was not heard.
			e.state.Unclear[host] = true
			e.retryAt = time.Now()
		}
		e.warnOfUnknown(host, failed(result)...)
	default:
		delete(e.state.Contraindicated, host)
		delete(e.state.Unclear, host)
	}
}

// endList forgets what is no longer there after all present results came anew.
func (e *Engine) endList() {
	for _, known := range []map[string]bool{e.state.Contraindicated, e.state.Unclear} {
		for host := range known {
			if !e.listed[host] {
				delete(known, host)
			}
		}
	}
	for _, binding := range e.state.Bindings {
		if !e.listed[binding.Host] {
			e.warnOfUnknown(binding.Host, "NOT_LISTED")
		}
	}
	e.listed = nil
	e.log.Info("all results are known")
}

func (e *Engine) inUse(host string) bool {
	return slices.ContainsFunc(e.state.Bindings, func(b Binding) bool { return b.Host == host })
}

func (e *Engine) warnOfUnknown(host string, reasons ...string) {
	for _, binding := range e.state.Bindings {
		if binding.Host == host {
			e.log.Warn("nothing is known of a host that is in use", "workload", binding.Workload, "host", host, "reasons", reasons)
		}
	}
}

// failed answers the reasons of the checks that did not pass.
func failed(result *assayv1.AttestationResult) []string {
	var reasons []string
	for _, check := range result.GetChecks() {
		if check.GetOutcome() != assayv1.CheckOutcome_CHECK_OUTCOME_PASSED {
			reasons = append(reasons, check.GetReason())
		}
	}
	return reasons
}

// logRuntime stands for what really starts and stops workloads.
type logRuntime struct{ log *slog.Logger }

func (r logRuntime) Start(binding Binding) error {
	r.log.Info("a replica runs", "workload", binding.Workload, "replica", binding.Replica, "host", binding.Host)
	return nil
}

func (r logRuntime) Stop(binding Binding) error {
	r.log.Info("a replica was stopped", "workload", binding.Workload, "replica", binding.Replica, "host", binding.Host)
	return nil
}
