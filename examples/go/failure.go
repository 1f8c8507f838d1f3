package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Failure is what the service tells of a call that failed.
type Failure struct {
	Code    codes.Code
	Message string
	// Stable, such as "PLACEMENT_INDEX_STALE"; empty where the failure is not the service's but the library's or the network's.
	Reason string
	// The service asks not to come back sooner.
	RetryAfter time.Duration
	// Not of a call at all, but of this program or its machine: a file that cannot be written, for example.
	Local bool
}

func describe(err error) Failure {
	answer, ofCall := status.FromError(err)
	failure := Failure{Code: answer.Code(), Message: answer.Message(), Local: !ofCall}
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason = detail.GetReason()
		case *errdetails.RetryInfo:
			failure.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return failure
}

func (f Failure) String() string {
	if f.Local {
		return f.Message
	}
	return fmt.Sprintf("%s %s: %s", f.Code, f.Reason, f.Message)
}

// Final tells whether another try is of no use until somebody changes something.
func (f Failure) Final() bool {
	switch f.Code {
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.InvalidArgument, codes.NotFound,
		codes.FailedPrecondition:
		return true
	default:
		return f.Local
	}
}

// Backoff gives pauses that double from one second to one minute. A random part of up to one half is taken off, so that
// engines which lost the service at the same moment do not come back at the same moment.
type Backoff struct{ tries int }

func (b *Backoff) Next(failure Failure) time.Duration {
	pause := min(time.Second<<min(b.tries, 6), time.Minute)
	b.tries++
	pause -= time.Duration(rand.Float64() * float64(pause) / 2)
	return max(pause, failure.RetryAfter)
}

func (b *Backoff) Reset() { b.tries = 0 }
