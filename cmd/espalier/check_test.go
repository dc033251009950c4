package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/target"
)

// call runs a command line in this process.
func call(args ...string) (out string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := newRootCommand(&ioStreams{Out: &stdout, Err: &stderr})
	cmd.SetArgs(args)
	err = cmd.Execute()
	return stdout.String(), err
}

func TestCheckNamesWhatDoesNotRun(t *testing.T) {
	gelu := testmaterial.Path(t, "models/ops/gelu_int8.tflite")
	out, err := call("check", gelu, "--target", "cortex-m4")
	if fault.ExitCode(err) != 5 || !strings.Contains(out, "GELU") || !strings.Contains(out, "0 of 1 operators run on cortex-m4") {
		t.Errorf("exit code %d\n%s", fault.ExitCode(err), out)
	}
	out, err = call("check", "-o", "json", gelu, "--target", "litert")
	var r target.Report
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || !r.Runs || len(r.Operators) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := call("check", gelu, "--target", "cortex-m99"); fault.ExitCode(err) != 2 || !strings.Contains(err.Error(), "cortex-m4") {
		t.Errorf("an unknown target: %v", err)
	}
	if _, err := call("check", gelu); fault.ExitCode(err) != 2 {
		t.Errorf("no target: %v", err)
	}
}

func TestTargetsListsAll(t *testing.T) {
	out, err := call("targets")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range target.Names() {
		if !strings.Contains(out, name) {
			t.Errorf("%s is not listed:\n%s", name, out)
		}
	}
}

func TestInspectShowsTheArenaOfADevice(t *testing.T) {
	model := testmaterial.Path(t, "models/ops/conv_1x1_relu6_int8.tflite")
	out, err := call("inspect", model, "--target", "tflm")
	if err != nil || !strings.Contains(out, "arena on tflm ") || !strings.Contains(out, "CONV_2D") {
		t.Errorf("%v\n%s", err, out)
	}
	var got struct {
		Memory     *target.Memory `json:"memory"`
		Operators  []any          `json:"operators"`
		ArenaBytes int            `json:"arenaBytes"`
	}
	out, err = call("inspect", "-o", "json", model, "--target", "tflm")
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.Memory == nil || got.Memory.Bytes <= got.Memory.Planned || got.ArenaBytes == 0 || len(got.Operators) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := call("inspect", testmaterial.Path(t, "models/ops/gelu_int8.tflite"), "--target", "tflm"); fault.ExitCode(err) != 3 || !strings.Contains(err.Error(), "GELU") {
		t.Errorf("memory of a model that does not run there: %v", err)
	}
	if out, err := call("inspect", model, "--target", "litert"); err != nil || strings.Contains(out, "arena on") {
		t.Errorf("%v\n%s", err, out)
	}
}
