package measurement

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/tflite"
)

// Where the containers of a stage's pod have what they exchange.
const (
	RequestsPath = "/measure/requests" // leaves and requests: only the stage's container writes here
	AnswersPath  = "/measure/answers"  // in the stage's container: the folder of every measurement's container, for reading
	ToolsPath    = "/measure/bin"      // this program, which serves in a container of any image
	ScratchPath  = "/tmp"              // in a measurement's container: its folder of AnswersPath
)

// request is what the stage asks of a measurement's container. The leaf is beside it, under the request's ID.
type request struct {
	ID             string   `json:"id"`
	Command        []string `json:"command"`
	TimeoutSeconds int64    `json:"timeoutSeconds"`
}

// answer is what a measurement's container says, or whatever a program there made of it.
type answer struct {
	ID      string `json:"id"`
	Output  string `json:"output"`
	Failure string `json:"failure"` // a key of failures; "" where the program ended well
	Code    int    `json:"code"`
}

// failures are those that an answer may name.
var failures = map[string]error{"missing": errMissing, "program": errProgram, "long": errLong, "time": errTime, "ended": errEnded, "exit": nil}

const (
	answerFile  = "espalier-answer.json"
	startedFile = "espalier-started"
	// maxAnswer bounds an answer: JSON may make six bytes of one.
	maxAnswer = 6*MaxOutput + 1024
)

// look is how often a file is looked for.
var look = 200 * time.Millisecond

// Exchange has programs run in other containers of the pod.
type Exchange struct {
	// Requests and Answers are the folders of RequestsPath and AnswersPath.
	Requests, Answers string
	// Patience is how long an answer may take beyond the time of the program; default two minutes.
	Patience time.Duration

	mutex sync.Mutex
}

// Program is the measurement's image.
func (e *Exchange) Program(m *v1alpha1.Measurement) (string, error) {
	if m.Image == "" {
		return "", errors.New("in a cluster it needs an image: name the one that has the command")
	}
	return m.Image, nil
}

// errSilent says that nobody answers.
var errSilent = errors.New("its container does not answer: its log and state may say why")

// Run asks the container of a measurement and waits for its answer.
func (e *Exchange) Run(ctx context.Context, m *v1alpha1.Measurement, leaf []byte) ([]byte, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	r := request{ID: rand.Text(), Command: m.Command, TimeoutSeconds: int64(timeout(m).Seconds())}
	file := filepath.Join(e.Requests, r.ID+".tflite")
	if err := tflite.WriteWhole(file, leaf); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(file) }()
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := tflite.WriteWhole(filepath.Join(e.Requests, m.Name+".json"), text); err != nil {
		return nil, err
	}
	patience := e.Patience
	if patience == 0 {
		patience = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout(m)+patience, errSilent)
	defer cancel()
	for {
		if a, ok := readAnswer(filepath.Join(e.Answers, m.Name)); ok && a.ID == r.ID {
			return a.result()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(look):
		}
	}
}

// result is what an answer comes to. Nothing of its text is in an error.
func (a *answer) result() ([]byte, error) {
	if a.Failure == "exit" {
		return nil, &exitError{min(max(a.Code, -1), 255)}
	}
	if a.Failure == "" {
		return []byte(a.Output), nil
	}
	if err := failures[a.Failure]; err != nil {
		return nil, err
	}
	return nil, errSilent
}

// readAnswer reads an answer from a folder that a stranger's program may write to: a regular file of that folder, not too large, with an
// answer in it and nothing else. A link that leads out of the folder is not followed.
func readAnswer(folder string) (a answer, ok bool) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return a, false
	}
	defer root.Close()
	f, err := root.OpenFile(answerFile, os.O_RDONLY|noWait, 0)
	if err != nil {
		return a, false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxAnswer {
		return a, false
	}
	text, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	if err != nil {
		return a, false
	}
	return a, json.Unmarshal(text, &a) == nil
}

// Serve runs the programs that requests for a measurement ask for, until ctx ends. scratch is the container's folder for temporary files,
// where answers go too. A request during which the container ended, is answered with that.
func Serve(ctx context.Context, name, requests, scratch string) error {
	var last string
	if a, ok := readAnswer(scratch); ok {
		last = a.ID
	}
	for {
		if r, ok := readRequest(filepath.Join(requests, name+".json")); ok && r.ID != last {
			a, err := serve(ctx, r, requests, scratch)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if err := a.write(scratch); err != nil {
				return err
			}
			last = r.ID
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(look):
		}
	}
}

func readRequest(file string) (r request, ok bool) {
	text, err := os.ReadFile(file)
	return r, err == nil && json.Unmarshal(text, &r) == nil && r.ID != "" && len(r.Command) > 0
}

// serve runs one program.
func serve(ctx context.Context, r request, requests, scratch string) (*answer, error) {
	started := filepath.Join(scratch, startedFile)
	if id, err := os.ReadFile(started); err == nil && string(id) == r.ID {
		return &answer{ID: r.ID, Failure: "ended"}, nil
	}
	if err := tflite.WriteWhole(started, []byte(r.ID)); err != nil {
		return nil, err
	}
	own, err := os.MkdirTemp(scratch, "espalier-measure-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(own) }()
	command := append(r.Command, filepath.Join(requests, r.ID+".tflite"))
	output, said, err := run(ctx, command, "", own, time.Duration(r.TimeoutSeconds)*time.Second)
	fmt.Fprint(os.Stderr, said) // the container's log
	a := &answer{ID: r.ID}
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		a.Failure, a.Code = "exit", exit.code
	case errors.Is(err, errMissing):
		a.Failure = "missing"
	case errors.Is(err, errProgram):
		a.Failure = "program"
	case errors.Is(err, errLong):
		a.Failure = "long"
	case errors.Is(err, errTime):
		a.Failure = "time"
	case err != nil:
		return nil, err
	default:
		a.Output = string(output)
	}
	return a, nil
}

func (a *answer) write(folder string) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return tflite.WriteWhole(filepath.Join(folder, answerFile), text)
}

// Lend copies this program to a folder, for containers of other images.
func Lend(folder string) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(own)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(folder, Tool), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755) //nolint:gosec // others run it
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}

// Tool is the name that this program has in ToolsPath.
const Tool = "espalier"
