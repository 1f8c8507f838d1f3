package main

import (
	"context"
	"slices"
	"time"

	assayv1 "example.com/orchestrator/gen/assay/v1"
	"google.golang.org/grpc/codes"
)

const (
	// Every call has a deadline. Placement answers from memory; whoever takes longer is in trouble.
	deadline = 5 * time.Second
	// How many hosts to choose from: some may fail the check at the binding.
	candidates = 20
	// When to ask again for a replica that found no host.
	pendingPause = 5 * time.Second
)

// place finds a host for every replica that has none. It returns an error where another try is of no use.
func (e *Engine) place(ctx context.Context) error {
	if now := time.Now(); now.Before(e.notBefore) || now.Before(e.retryAt) {
		return nil
	}
	e.retryAt = time.Now().Add(pendingPause)
	for _, workload := range e.workloads {
		for replica := range workload.Replicas {
			if err := e.catchUp(); err != nil {
				return err
			}
			if slices.ContainsFunc(e.state.Of(workload.Name), func(b Binding) bool { return b.Replica == replica }) {
				continue
			}
			placed, err := e.placeReplica(ctx, workload, replica)
			if ctx.Err() != nil {
				return nil
			}
			failure := describe(err)
			switch {
			case failure.Code == codes.InvalidArgument:
				// The fault of this workload alone.
				e.log.Error("a workload cannot be placed", "workload", workload.Name, "error", failure.String())
			case err != nil && failure.Final():
				return err
			case err != nil:
				// The service cannot tell. Nothing new is placed meanwhile; what runs goes on.
				pause := e.backoff.Next(failure)
				e.notBefore = time.Now().Add(pause)
				e.log.Warn("placement is not available", "error", failure.String(), "again_in", pause.String())
				return nil
			default:
				e.backoff.Reset()
			}
			if !placed {
				// The other replicas of this workload would find none either.
				break
			}
		}
	}
	return nil
}

// placeReplica tells whether it found a host.
func (e *Engine) placeReplica(ctx context.Context, workload Workload, replica int) (bool, error) {
	hosts, err := e.selectHosts(ctx, workload)
	if err != nil {
		return false, err
	}
	for _, host := range hosts {
		// The watch may be ahead of the selection.
		if e.state.Contraindicated[host.GetHost()] {
			continue
		}
		// Between selection and binding things change.
		selectable, err := e.checkHost(ctx, workload, host.GetHost())
		if err != nil {
			return false, err
		}
		if selectable {
			return true, e.bind(Binding{workload.Name, replica, host.GetHost(), host.GetLabels()[workload.SpreadBy]})
		}
	}
	return false, e.explain(ctx, workload, replica)
}

// selectHosts answers hosts that hold no replica of the workload yet; first come those whose value of the label that is spread by
// has the fewest. The service spreads what it answers, and cannot know what runs already.
func (e *Engine) selectHosts(ctx context.Context, workload Workload) ([]*assayv1.PlacementHost, error) {
	answer, err := e.ask(ctx, workload, 0)
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for _, binding := range e.state.Of(workload.Name) {
		held[binding.Spread]++
	}
	hosts := answer.GetHosts()
	if workload.SpreadBy != "" {
		slices.SortStableFunc(hosts, func(a, b *assayv1.PlacementHost) int {
			return held[a.GetLabels()[workload.SpreadBy]] - held[b.GetLabels()[workload.SpreadBy]]
		})
	}
	return hosts, nil
}

func (e *Engine) ask(ctx context.Context, workload Workload, explain int32) (*assayv1.SelectHostsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	requirements := workload.Requirements()
	// At most 1000 fit; a larger workload would ask for more candidates instead.
	requirements.Exclusions = &assayv1.PlacementExclusions{}
	for _, binding := range e.state.Of(workload.Name) {
		requirements.Exclusions.Hosts = append(requirements.Exclusions.Hosts, binding.Host)
	}
	return e.placement.SelectHosts(ctx, &assayv1.SelectHostsRequest{
		Requirements: requirements,
		Count:        candidates,
		SpreadBy:     workload.SpreadBy,
		Explain:      explain,
	})
}

func (e *Engine) checkHost(ctx context.Context, workload Workload, host string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	answer, err := e.placement.CheckHost(ctx, &assayv1.CheckHostRequest{
		Subject:      &assayv1.CheckHostRequest_Host{Host: host},
		Requirements: workload.Requirements(),
	})
	if describe(err).Code == codes.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !answer.GetSelectable() {
		e.log.Info("a host is refused at the binding", "workload", workload.Name, "host", host, "reasons", answer.GetReasons())
	}
	return answer.GetSelectable(), nil
}

// bind writes down first, then starts: an engine that dies in between starts the replica when it comes back.
func (e *Engine) bind(binding Binding) error {
	e.state.Bindings = append(e.state.Bindings, binding)
	if err := e.state.Save(); err != nil {
		return err
	}
	e.log.Info("a replica is bound", "workload", binding.Workload, "replica", binding.Replica, "host", binding.Host)
	return e.runtime.Start(binding)
}

// explain says why there is no host. It costs the service a look at every host, so it is asked for only here.
func (e *Engine) explain(ctx context.Context, workload Workload, replica int) error {
	answer, err := e.ask(ctx, workload, 10)
	if err != nil {
		return err
	}
	counts := map[string]int32{}
	for _, refusal := range answer.GetRefusalCounts() {
		counts[refusal.GetReason()] = refusal.GetCount()
	}
	e.log.Warn("a replica waits for a host", "workload", workload.Name, "replica", replica, "refused", counts)
	return nil
}
