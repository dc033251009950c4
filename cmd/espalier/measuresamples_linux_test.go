package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// board plays a board on a serial line, and returns the line's name: it answers a leaf with its size as the cycles.
func board(t *testing.T) string {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	t.Cleanup(func() { control.Close() })
	number, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("/dev/pts/%d", number)
	held, err := os.OpenFile(line, os.O_RDWR|unix.O_NOCTTY, 0) // between two leaves it stays open
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	go func() {
		from := bufio.NewReader(control)
		for {
			text, err := from.ReadString('\n')
			if err != nil {
				return
			}
			size, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				fmt.Fprintln(control, "no number")
				continue
			}
			if _, err := io.CopyN(io.Discard, from, int64(size)); err != nil {
				return
			}
			fmt.Fprintf(control, "%d 1024\n", size)
		}
	}()
	return line
}

// fakeVela is a compiler that writes a summary as Vela's is written.
const fakeVela = `#!/bin/sh
[ "$1 $3" = "--accelerator-config --output-dir" ] || exit 2
printf 'experiment,total_npu_encoded_weights,cycles_total\r\ndefault,%d,900\r\n' $(wc -c < "$5") > "$4/leaf_summary_$2.csv"
echo "Network summary"
`

func TestTheCommandsOfThePageOnMeasurementsRun(t *testing.T) {
	line, root := board(t), t.TempDir()
	for _, folder := range []string{"config/samples/measurements", "out/demo", "bin"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source := filepath.Dir(project(t))
	write(t, filepath.Join(root, "out/demo/glyphs.tflite"), read(t, filepath.Join(source, "model.tflite")))
	write(t, filepath.Join(root, "out/demo/glyphs.npz"), read(t, filepath.Join(source, "data.npz")))
	for _, name := range []string{"vela.yaml", "vela.sh", "board.yaml", "serial.sh"} {
		text := strings.ReplaceAll(string(read(t, filepath.Join("../../config/samples/measurements", name))), "/dev/ttyACM0]", line+"]")
		if err := os.WriteFile(filepath.Join(root, "config/samples/measurements", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/vela"), []byte(fakeVela), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	page := string(read(t, "../../docs/measurements.md"))
	commands := regexp.MustCompile(`(?m)^\$ espalier (.*)$`).FindAllStringSubmatch(page, -1)
	if len(commands) != 2 {
		t.Fatalf("%d commands on the page", len(commands))
	}
	t.Chdir(root)
	for i, want := range []string{"NPU_WEIGHT_BYTES", "BOARD_CYCLES"} {
		stdout, stderr, code := espalier(context.Background(), strings.Fields(commands[i][1])...)
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d\n%s%s", commands[i][1], code, stdout, stderr)
		}
	}
}
