package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite"
)

func newReportCommand(streams *ioStreams) *cobra.Command {
	return &cobra.Command{
		Use:     "report FOLDER",
		Short:   "Write report.html again from a run's folder",
		Example: "  espalier report out/",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := args[0]
			if filepath.Base(folder) == "result.json" {
				folder = filepath.Dir(folder)
			}
			content, err := os.ReadFile(filepath.Join(folder, "result.json"))
			if err != nil {
				return fault.As(fault.Spec, fmt.Errorf("%w: it is not the folder of a finished run", err))
			}
			pipeline, searched, err := stage.ReadResult(content)
			if err != nil {
				return fault.As(fault.Spec, fmt.Errorf("%s/result.json: %w", folder, err))
			}
			store, err := artifact.OpenFolder(filepath.Join(folder, ".cache"))
			if err != nil {
				return fault.As(fault.Storage, err)
			}
			defer store.Close()
			publication := &stage.Publication{Store: store, Pipeline: pipeline, Searched: searched, Tool: tool(), Models: true}
			page, err := publication.Report(cmd.Context())
			if err == nil {
				err = tflite.WriteWhole(filepath.Join(folder, "report.html"), page)
			}
			if err != nil {
				return fault.As(fault.Storage, err)
			}
			_, err = fmt.Fprintf(streams.Out, "report: %s\n", filepath.Join(folder, "report.html"))
			return err
		},
	}
}

// tool says what made a report.
func tool() string {
	return fmt.Sprintf("espalier %s, algorithm %s, kernels %s", version, optimizer.AlgorithmVersion, kernel.Class())
}
