package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/measurement"
	"espalier.dev/espalier/internal/stage"
)

// stageOptions are the flags of `espalier stage`.
type stageOptions struct {
	job         stage.Job
	measure     measurement.Exchange
	termination string
	streams     *ioStreams
}

func newStageCommand(streams *ioStreams) *cobra.Command {
	o := &stageOptions{streams: streams}
	cmd := &cobra.Command{
		Use:   "stage",
		Short: "Run one stage, as a Job's container does",
		Long: `Run the stage that the environment variable ` + stage.OrderEnv + ` describes, as JSON: what the operator's Jobs run. Results go to the
pipeline's artifact store, the outcome to the termination message, what happens to standard error, a JSON object a line. A stage whose
result is in the store is not run again. SIGTERM saves a training under way to the store; the next attempt goes on from there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.job.Claims, "claims", stage.ClaimsPath, "folder where claims are mounted, each under its name")
	flags.StringVar(&o.job.Secrets, "secrets", stage.SecretsPath, "folder where secrets are mounted, by location")
	flags.StringVar(&o.job.Cache, "cache", stage.CachePath, "folder for what is fetched, and for temporary files")
	flags.StringVar(&o.measure.Requests, "requests", measurement.RequestsPath, "folder where the containers of measurements find requests")
	flags.StringVar(&o.measure.Answers, "answers", measurement.AnswersPath, "folder where their folders with answers are")
	flags.StringVar(&o.termination, "termination", stage.TerminationPath, "file for the outcome")
	flags = cmd.Flags()
	flags.IntVar(&o.job.Workers, "workers", 0, "goroutines for training and measuring; 0: one a processor; changes no result")
	flags.DurationVar(&o.job.CheckpointEvery, "checkpoint-every", 0, "how often a training under way is saved (default 30s)")
	cmd.AddCommand(newLendCommand(), newMeasureCommand(), &cobra.Command{
		Use:   "read",
		Short: "Read a stage's result from the store",
		Long: `Answer the order of ` + stage.OrderEnv + ` as the stage itself does, from what the store has. Nothing is run, and nothing is written or
removed; a result that is not there is an error. The operator has this done where a Job is over and its pod was in another cluster, or is gone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.job.ReadOnly = true
			return o.run(cmd.Context())
		},
	})
	return cmd
}

// newLendCommand copies this program to where containers of other images find it.
func newLendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lend FOLDER",
		Short: "Copy this program to a folder, for the containers of measurements",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return fault.As(fault.Storage, measurement.Lend(args[0])) },
	}
}

// newMeasureCommand serves in the container of a measurement.
func newMeasureCommand() *cobra.Command {
	var requests, scratch string
	cmd := &cobra.Command{
		Use:   "measure NAME",
		Short: "Run the program of a measurement whenever the stage beside asks for it",
		Long: `Wait in the container of a measurement for requests of the stage beside it, run the program that they name on the leaf that comes with
them, and leave what it prints as the answer, until SIGTERM.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return fault.As(fault.Storage, measurement.Serve(cmd.Context(), args[0], requests, scratch))
		},
	}
	cmd.Flags().StringVar(&requests, "requests", measurement.RequestsPath, "folder where requests and leaves are")
	cmd.Flags().StringVar(&scratch, "scratch", measurement.ScratchPath, "folder for answers and temporary files")
	return cmd
}

func (o *stageOptions) run(ctx context.Context) error {
	o.job.Tool, o.job.Guard, o.job.Measure = tool(), guarded, &o.measure
	o.job.Log = slog.New(slog.NewJSONHandler(o.streams.Err, nil))
	order, err := stage.ParseOrder(os.Getenv(stage.OrderEnv))
	if err != nil {
		return errors.Join(err, o.answer(stage.Refused(err)))
	}
	if err := os.Setenv("TMPDIR", o.job.Cache); err != nil {
		return err
	}
	var outcome *stage.Outcome
	err = guarded(func() (err error) {
		outcome, err = o.job.Run(ctx, order)
		return err
	})
	if outcome == nil { // it was cut short by a bug
		o.job.Log.Error("failed", "error", fault.Line(err))
		outcome = stage.Refused(err)
	}
	if err := o.answer(outcome); err != nil {
		return err
	}
	if err != nil { // logged already
		return errors.Join(errSilent, err)
	}
	return nil
}

// answer writes the outcome in one go. The file is a mount of the container's runtime: nothing can be renamed over it, and it is read
// when the container has ended.
func (o *stageOptions) answer(outcome *stage.Outcome) error {
	data, err := outcome.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.termination, data, 0o644); err != nil { //nolint:gosec // the runtime reads it
		return fault.As(fault.Storage, fmt.Errorf("write the outcome: %w", err))
	}
	return nil
}
