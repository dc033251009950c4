package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// test is a test of the package.
type test struct {
	name    string
	took    time.Duration // of processor time, alone
	reached []block
}

// block is a stretch of code that runs as a whole, from one position to before another.
type block struct {
	file                                 string
	startLine, startCol, endLine, endCol int
}

func (b block) holds(file string, line, col int) bool {
	return b.file == file && (line > b.startLine || line == b.startLine && col >= b.startCol) && (line < b.endLine || line == b.endLine && col < b.endCol)
}

// suite is the tests of the package, the quickest first.
type suite struct {
	tests []test
	known []block // whether run or not
}

// trace runs each test of a package, which may be p itself, alone to see what it reaches of p.
func trace(ctx context.Context, p, tester listed, scratch string) (suite, error) {
	binary, profile := filepath.Join(scratch, "cover.test"), filepath.Join(scratch, "profile")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-covermode=set", "-coverpkg="+p.ImportPath, "-o", binary, ".")
	build.Dir = tester.Dir
	if _, err := output(build); err != nil {
		return suite{}, err
	}
	list := exec.CommandContext(ctx, binary, "-test.list", "^(Test|Fuzz|Example)")
	list.Dir = tester.Dir
	names, err := output(list)
	if err != nil {
		return suite{}, err
	}
	var s suite
	for _, name := range strings.Fields(names) {
		alone := exec.CommandContext(ctx, binary, "-test.run", "^"+name+"$", "-test.coverprofile", profile)
		alone.Dir = tester.Dir
		if _, err := output(alone); err != nil {
			return suite{}, err
		}
		text, err := os.ReadFile(profile)
		if err != nil {
			return suite{}, err
		}
		reached, known, err := blocks(string(text))
		if err != nil {
			return suite{}, err
		}
		s.known = known
		s.tests = append(s.tests, test{name, alone.ProcessState.UserTime() + alone.ProcessState.SystemTime(), reached})
	}
	slices.SortFunc(s.tests, func(a, b test) int { return cmp.Or(cmp.Compare(a.took, b.took), cmp.Compare(a.name, b.name)) })
	return s, nil
}

// blocks returns the blocks that a profile of coverage says were run, and all that it knows.
func blocks(profile string) (reached, known []block, err error) {
	for line := range strings.Lines(profile) {
		file, rest, ok := strings.Cut(line, ".go:")
		if !ok {
			continue // the mode
		}
		b := block{file: path.Base(file) + ".go"}
		var statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.startLine, &b.startCol, &b.endLine, &b.endCol, &statements, &count); err != nil {
			return nil, nil, fmt.Errorf("profile of coverage: %q: %w", line, err)
		}
		known = append(known, b)
		if count > 0 {
			reached = append(reached, b)
		}
	}
	return reached, known, nil
}

// reaching returns the tests that run a mutant's block. What no block has, as the condition of a case, is run by those that run anything of its
// function; what lies outside of functions, by all.
func (s suite) reaching(m *mutant) []test {
	holds := func(b block) bool { return b.holds(m.file.name, m.line, m.col) }
	if !slices.ContainsFunc(s.known, holds) {
		f := m.file.function(m.offset)
		if f == nil {
			return s.tests
		}
		first, last := m.file.set.Position(f.Pos()).Line, m.file.set.Position(f.End()).Line
		holds = func(b block) bool { return b.file == m.file.name && b.startLine >= first && b.endLine <= last }
	}
	var reaching []test
	for _, t := range s.tests {
		if slices.ContainsFunc(t.reached, holds) {
			reaching = append(reaching, t)
		}
	}
	return reaching
}

// together is how many mutants one binary has at most: a function with hundreds of mutants is compiled hundreds of times.
const together = 400

// trial is the tests of a package, which may be p itself, tried on mutants of p.
type trial struct {
	p, tester listed
	tests     suite
	scratch   string
	patience  float64
}

// try finds out what becomes of every mutant that no other test has killed.
func (t trial) try(ctx context.Context, mutants []*mutant) error {
	binary := filepath.Join(t.scratch, "mutants.test")
	var inside []*mutant
	for _, m := range mutants {
		if m.outcome != "" && m.outcome != survived && m.outcome != notCovered || m.outcome != "" && len(t.tests.reaching(m)) == 0 {
			continue
		}
		if copiable(m.file.function(m.offset)) {
			inside = append(inside, m)
			continue
		}
		if _, err := compile(ctx, t.tester, t.scratch, binary, map[string]string{m.file.path: m.changed(0, len(m.file.text))}); err != nil {
			m.outcome = notViable
			continue
		}
		if err := t.decide(ctx, binary, m, t.tests.reaching(m)); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(inside, together) {
		if err := build(ctx, t.p, t.tester, t.scratch, binary, batch); err != nil {
			return err
		}
		unchanged := &mutant{}
		if err := t.decide(ctx, binary, unchanged, t.tests.tests); err != nil {
			return err
		}
		if len(t.tests.tests) > 0 && unchanged.outcome != survived {
			return errors.New("tests fail with copies of functions in which nothing is changed")
		}
		for _, m := range batch {
			if m.outcome == notViable {
				continue
			}
			if err := t.decide(ctx, binary, m, t.tests.reaching(m)); err != nil {
				return err
			}
		}
	}
	return nil
}

// start is processor time that a run of tests is given besides theirs.
const start = 200 * time.Millisecond

// quick is what a test may take to be run in one process with others.
const quick = time.Second

// decide runs the tests that reach a mutant, the quick ones first and the others one by one, until one fails.
func (t trial) decide(ctx context.Context, binary string, m *mutant, tests []test) error {
	if len(tests) == 0 {
		m.outcome = notCovered
		return nil
	}
	slow := slices.IndexFunc(tests, func(t test) bool { return t.took > quick })
	if slow < 0 {
		slow = len(tests)
	}
	groups := slices.Collect(slices.Chunk(tests[slow:], 1))
	if slow > 0 {
		groups = slices.Insert(groups, 0, tests[:slow])
	}
	for _, group := range groups {
		var err error
		if m.outcome, err = t.fate(ctx, binary, m, group); err != nil || m.outcome != survived {
			return err
		}
	}
	return nil
}

// fate runs tests together against a mutant. The limit is of processor time, so that a busy machine makes no mutant endless; one that waits
// instead of working is ended after ten times that on the clock. What asks for all the memory there is fails.
func (t trial) fate(ctx context.Context, binary string, m *mutant, tests []test) (outcome, error) {
	var names []string
	var took time.Duration
	for _, test := range tests {
		names = append(names, test.name)
		took += test.took
	}
	limit := int(math.Ceil(t.patience * (took + start).Seconds()))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(limit)*10*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, "sh", "-c", `ulimit -t "$0" && ulimit -v 16000000 && exec "$@"`, strconv.Itoa(limit),
		binary, "-test.failfast", "-test.timeout", "0", "-test.run", "^("+strings.Join(names, "|")+")$")
	run.Dir = t.tester.Dir
	run.Env = append(os.Environ(), variable+"="+strconv.Itoa(m.identifier), "TMPDIR="+t.scratch, "GOMEMLIMIT=4GiB")
	_, err := output(run)
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		return survived, nil
	case ctx.Err() == context.DeadlineExceeded:
		return endless, nil
	case ctx.Err() != nil || !errors.As(err, &exit):
		return "", err
	case exit.ExitCode() < 0 && (exit.UserTime()+exit.SystemTime()).Seconds() > float64(limit-1):
		return endless, nil
	}
	return killed, nil
}
