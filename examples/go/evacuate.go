package main

import (
	"slices"
	"time"
)

// evacuate stops what runs on contraindicated hosts. Only explicit evidence counts: a host of which nothing is known keeps what it
// has. A host that lies may go on running what it was told to stop: take its credentials and keys away, too.
func (e *Engine) evacuate() error {
	if time.Now().Before(e.evacuateAt) {
		return nil
	}
	e.evacuateAt = time.Time{}
	for _, binding := range slices.Clone(e.state.Bindings) {
		if !e.state.Contraindicated[binding.Host] {
			continue
		}
		// One wrong policy can contraindicate every host at once. A limit leaves time to notice.
		if wait := e.evictions.Take(); wait > 0 {
			e.log.Error("too many evacuations: the others wait", "again_in", wait.String())
			e.evacuateAt = time.Now().Add(wait)
			return nil
		}
		if err := e.runtime.Stop(binding); err != nil {
			return err
		}
		e.state.Unbind(binding)
		if err := e.state.Save(); err != nil {
			return err
		}
		e.log.Warn("a replica is evacuated", "workload", binding.Workload, "replica", binding.Replica, "host", binding.Host)
		e.retryAt = time.Now()
	}
	return nil
}

// Budget allows so many acts in any minute.
type Budget struct {
	limit int
	taken []time.Time
}

// Take takes one, or tells how long to wait for it.
func (b *Budget) Take() time.Duration {
	now := time.Now()
	b.taken = slices.DeleteFunc(b.taken, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if len(b.taken) >= b.limit {
		if len(b.taken) == 0 {
			return time.Minute
		}
		return time.Minute - now.Sub(b.taken[0])
	}
	b.taken = append(b.taken, now)
	return 0
}
