package main

import (
	"context"
	"slices"
	"time"

	assayv1 "example.com/orchestrator/gen/assay/v1"
)

// How far to look back for the last verdict on a host.
const history = 100

// unclear tells whether a verdict that has ended found something: its host may have been contraindicated while nobody watched.
func unclear(result *assayv1.AttestationResult) bool {
	reasons := failed(result)
	return slices.Contains(reasons, "RESULT_EXPIRED") && len(reasons) > 1
}

// lookBack asks what the last verdict on hosts was that were listed as NONE with something found. A host that was contraindicated and
// then went silent is no better for it.
func (e *Engine) lookBack(ctx context.Context) error {
	if time.Now().Before(e.notBefore) {
		return nil
	}
	for host := range e.state.Unclear {
		last, err := e.lastVerdict(ctx, host)
		if ctx.Err() != nil {
			return nil
		}
		if failure := describe(err); err != nil && failure.Final() {
			return err
		} else if err != nil {
			pause := e.backoff.Next(failure)
			e.notBefore = time.Now().Add(pause)
			e.log.Warn("the history of a host is not available", "host", host, "error", failure.String(), "again_in", pause.String())
			return nil
		}
		delete(e.state.Unclear, host)
		if last.GetStatus() == assayv1.TrustStatus_TRUST_STATUS_CONTRAINDICATED {
			e.state.Contraindicated[host] = true
			e.log.Warn("a host was contraindicated before it went silent", "host", host, "reasons", failed(last))
		}
		if err := e.state.Save(); err != nil {
			return err
		}
	}
	return nil
}

// lastVerdict answers the newest result of a host that says something, or nil.
func (e *Engine) lastVerdict(ctx context.Context, host string) (*assayv1.AttestationResult, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	answer, err := e.results.ListAttestationResults(ctx, &assayv1.ListAttestationResultsRequest{
		Filter:   &assayv1.ResultFilter{Hosts: []string{host}},
		History:  true,
		PageSize: history,
	})
	if err != nil {
		return nil, err
	}
	for _, result := range answer.GetResults() {
		if result.GetStatus() != assayv1.TrustStatus_TRUST_STATUS_NONE {
			return result, nil
		}
	}
	return nil, nil
}
