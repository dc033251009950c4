package measurement

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

// pod plays the folders of a pod with one measurement, n.
func pod(t *testing.T) (e *Exchange, scratch string) {
	t.Helper()
	look, pause = 5*time.Millisecond, time.Millisecond
	e = &Exchange{Requests: t.TempDir(), Answers: t.TempDir(), Patience: 30 * time.Second}
	scratch = filepath.Join(e.Answers, "n")
	if err := os.Mkdir(scratch, 0o777); err != nil {
		t.Fatal(err)
	}
	return e, scratch
}

// serving plays the container of a measurement until the test ends, or stop is called.
func serving(t *testing.T, e *Exchange, scratch string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, "n", e.Requests, scratch) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return stop
}

func TestAContainerMeasuresWhatTheStageHandsIt(t *testing.T) {
	limit := int32(1)
	tests := map[string]struct {
		command []string
		want    string
		err     string
	}{
		"it prints what it is to": {[]string{"sh", "-c", `echo '{"metrics": {"n": '$(wc -c < "$0")'}}'`}, "9", ""},
		"it fails, and says much": {[]string{"sh", "-c", "echo Password; echo Password >&2; exit 3"}, "", "measurement n failed 2 times: it ended with exit code 3, not 0"},
		"it is missing":           {[]string{"espalier-no-such-tool"}, "", "measurement n: there is no such command"},
		"it takes too long":       {[]string{"sh", "-c", "sleep 60"}, "", "longer than timeoutSeconds"},
		"it prints without end":   {[]string{"yes", "Password"}, "", "more than 64 KiB"},
		"it prints no JSON":       {[]string{"echo", "Password"}, "", "what it printed is not what it is to print"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, scratch := pod(t)
			serving(t, e, scratch)
			m := &v1alpha1.Measurement{Name: "n", Command: tt.command}
			if name == "it takes too long" {
				m.TimeoutSeconds, m.Retries = &limit, new(int32)
			}
			values, err := Measure(t.Context(), e, m, []byte("some leaf"))
			switch {
			case tt.err == "" && (err != nil || len(values) != 1 || values[0].Value != tt.want):
				t.Errorf("%v, %v", values, err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("%v, want %q", err, tt.err)
			case err != nil && strings.Contains(err.Error(), "Password"):
				t.Errorf("an error has what the program printed: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(e.Requests, "*.tflite")); len(left) > 0 {
				t.Errorf("the leaf is left behind: %v", left)
			}
		})
	}
}

func TestAContainerThatEndedSaysSoWhenItIsBack(t *testing.T) {
	e, scratch := pod(t)
	stop := serving(t, e, scratch)
	result := make(chan error, 1)
	go func() {
		_, err := e.Run(context.Background(), &v1alpha1.Measurement{Name: "n", Command: []string{"sh", "-c", "touch " + filepath.Join(scratch, "runs") + "; sleep 60"}}, nil)
		result <- err
	}()
	for range 2000 {
		if _, err := os.Stat(filepath.Join(scratch, "runs")); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop() // as if memory had run out
	serving(t, e, scratch)
	if err := <-result; !errors.Is(err, errEnded) {
		t.Errorf("%v, want %v", err, errEnded)
	}
}

func TestAnAnswerOfAStrangerIsNotFollowedAnywhere(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"id": "ID", "output": "Password"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(file string) error{
		"a link to a secret":       func(file string) error { return os.Symlink(secret, file) },
		"a folder":                 func(file string) error { return os.Mkdir(file, 0o777) },
		"more than an answer has":  func(file string) error { return os.WriteFile(file, make([]byte, maxAnswer+1), 0o600) },
		"no JSON":                  func(file string) error { return os.WriteFile(file, []byte("hello"), 0o600) },
		"the answer to another":    func(file string) error { return os.WriteFile(file, []byte(`{"id": "other", "output": "x"}`), 0o600) },
		"a pipe that nobody feeds": fifo,
	}
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			e, scratch := pod(t)
			e.Patience = 100 * time.Millisecond
			if err := plant(filepath.Join(scratch, answerFile)); err != nil {
				t.Fatal(err)
			}
			one := int32(1)
			output, err := e.Run(t.Context(), &v1alpha1.Measurement{Name: "n", Command: []string{"x"}, TimeoutSeconds: &one}, nil)
			if output != nil || !errors.Is(err, errSilent) {
				t.Errorf("%q, %v, want %v", output, err, errSilent)
			}
		})
	}
	for text, want := range map[string]error{
		`{"failure": "Password"}`: errSilent, `{"failure": "time"}`: errTime, `{"failure": "missing"}`: errMissing,
	} {
		var a answer
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		if _, err := a.result(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

func TestLendCopiesThisProgram(t *testing.T) {
	folder := t.TempDir()
	if err := Lend(folder); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(folder, Tool))
	if err != nil || info.Mode().Perm() != 0o755 || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
}
