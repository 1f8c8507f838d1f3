// Command orchestrator is an example of an orchestration engine that places workloads on attested hosts. It knows the service by
// generated code alone (buf.gen.yaml), so it is a start for an engine of your own: replace Runtime, keep the rest.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	assayv1 "example.com/orchestrator/gen/assay/v1"
)

func main() {
	profile := flag.String("profile", "engine.json", "identity with the role ORCHESTRATOR: `file` of `assay identity issue --out`")
	workloads := flag.String("workloads", "workloads.json", "what is to run: a `file`")
	state := flag.String("state", "orchestrator-state.json", "what runs where, and how far the watch has come: a `file`")
	limit := flag.Int("max-evacuations", 20, "evacuations in a minute; the others wait")
	flag.Parse()

	// slog escapes what it prints, also text that came from elsewhere.
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log, *profile, *workloads, *state, *limit); err != nil {
		log.Error("the engine ends", "error", describe(err).String())
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, profile, workloads, state string, limit int) error {
	wanted, err := readWorkloads(workloads)
	if err != nil {
		return err
	}
	kept, err := readState(state)
	if err != nil {
		return err
	}
	connection, err := connect(profile)
	if err != nil {
		return err
	}
	defer connection.Close()

	engine := &Engine{
		placement: assayv1.NewPlacementServiceClient(connection),
		results:   assayv1.NewAttestationResultServiceClient(connection),
		runtime:   logRuntime{log},
		workloads: wanted,
		state:     kept,
		evictions: Budget{limit: limit},
		log:       log,
	}
	return engine.Run(ctx)
}
