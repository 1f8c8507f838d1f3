package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	assayv1 "example.com/orchestrator/gen/assay/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Bookmarks come at least every 15 s. A stream that says nothing for so long is dead, whatever the connection says.
const silence = 45 * time.Second

// Event is one message of the watch, or the news that all present results come now, up to the bookmark `synced` (Message is nil).
type Event struct {
	Message *assayv1.WatchAttestationResultsResponse
}

// watch sends every change of a result to events, over restarts of the service and lost connections: each stream begins behind the
// last message that was taken. It ends with ctx, or where another try is of no use.
func watch(ctx context.Context, results assayv1.AttestationResultServiceClient, token string, events chan<- Event, log *slog.Logger) error {
	var backoff Backoff
	for {
		if token == "" && !send(ctx, events, Event{}) {
			return nil
		}
		err := watchOnce(ctx, results, &token, events, &backoff)
		if ctx.Err() != nil {
			return nil
		}
		failure := describe(err)
		switch {
		case failure.Code == codes.OutOfRange && token != "":
			// The service does not go back so far, has other data, or shows this engine other hosts than before.
			token = ""
		case failure.Final():
			return err
		}
		pause := backoff.Next(failure)
		log.Warn("the watch is interrupted", "error", failure.String(), "again_in", pause.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// watchOnce reads one stream to its end, and keeps token behind what was taken.
func watchOnce(ctx context.Context, results assayv1.AttestationResultServiceClient, token *string, events chan<- Event, backoff *Backoff) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A watch has no deadline as a whole; each message has one.
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	// No filter: which workloads run where changes, and the scope of the identity keeps the rest out.
	stream, err := results.WatchAttestationResults(ctx, &assayv1.WatchAttestationResultsRequest{ResumeToken: *token})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the service ended the stream")
		}
		if err != nil {
			return err
		}
		backoff.Reset()
		// What takes the engine long is not the service's silence.
		alarm.Stop()
		if !send(ctx, events, Event{message}) {
			return ctx.Err()
		}
		alarm.Reset(silence)
		// Empty among the first results: a watch that is cut off there begins anew.
		*token = message.GetResumeToken()
	}
}

func send(ctx context.Context, events chan<- Event, event Event) bool {
	select {
	case <-ctx.Done():
		return false
	case events <- event:
		return true
	}
}
