// Command mutate changes the code of packages piece by piece and says which changes no test of the package notices:
//
//	go run ./hack/mutate -sample 60 ./internal/walk ./optimizer/...
//
// The changes are those of gremlins (bin/gremlins, pinned in hack/gremlins). All of a package are compiled at once: a function that is changed
// gets a copy for each of its mutants, and an environment variable picks which one runs. A mutant then costs no more than the tests that reach
// it, the quick ones first. One whose package does not compile with it is no mutant. One is killed where a test fails, not covered where none
// runs its line, and endless where the tests take TIMEOUT times the processor time that they took before and are ended: those count as neither
// killed nor left out. The tests of other packages (-also) are tried on what those of the mutant's own leave. The score is the share of all mutants that are killed. Of a sample it is an estimate, with its 95 % interval.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// out is where the lists of all mutants lie, from the module's folder.
const out = "out/mutate"

// leftOut are generated code and the twins of assembly.
var leftOut = regexp.MustCompile(`/(schema|internal/gen|internal/simd|applyconfiguration)(/|$)`)

func main() {
	sample := flag.Int("sample", 0, "try so many mutants of each package, one drawn from each stretch of its code (0: all)")
	patience := flag.Float64("timeout", 10, "a mutant is endless once its tests took so many times the processor time that they took before")
	also := flag.String("also", "", "packages whose tests, too, may notice what those of a mutant's own package do not")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Args(), strings.Fields(*also), *sample, *patience)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// listed is a package as go list prints it.
type listed struct {
	Dir, ImportPath, Name              string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

func run(ctx context.Context, patterns, also []string, sample int, patience float64) error {
	packages, err := list(ctx, patterns)
	if err != nil {
		return err
	}
	var testers []listed
	if len(also) > 0 {
		if testers, err = list(ctx, also); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, p := range packages {
		if leftOut.MatchString(p.ImportPath) {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(testers), func(t listed) bool { return t.ImportPath == p.ImportPath })
		if err := mutate(ctx, p, others, sample, patience); err != nil {
			return fmt.Errorf("%s: %w", p.ImportPath, err)
		}
	}
	return nil
}

// list returns the packages that have tests.
func list(ctx context.Context, patterns []string) (packages []listed, err error) {
	text, err := output(exec.CommandContext(ctx, "go", append([]string{"list", "-json=Dir,ImportPath,Name,GoFiles,TestGoFiles,XTestGoFiles"}, patterns...)...))
	if err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		if len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 {
			packages = append(packages, p)
		}
	}
}

// mutate tries the mutants of a package and prints what became of them.
func mutate(ctx context.Context, p listed, also []listed, sample int, patience float64) error {
	scratch, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	all, err := find(ctx, p, scratch)
	if err != nil {
		return err
	}
	mutants := draw(all, sample)
	for i, m := range mutants {
		m.identifier = i + 1
	}
	for _, tester := range append([]listed{p}, also...) {
		tests, err := trace(ctx, p, tester, scratch)
		if err != nil {
			return err
		}
		if err := (trial{p, tester, tests, scratch, patience}).try(ctx, mutants); err != nil {
			return err
		}
	}

	here, err := os.Getwd()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(here, p.Dir)
	if err != nil {
		return err
	}
	var lines strings.Builder
	counts := map[outcome]int{}
	for _, m := range mutants {
		counts[m.outcome]++
		fmt.Fprintf(&lines, "%-12s %s/%s\n", m.outcome, name, m)
	}
	if err := os.WriteFile(filepath.Join(out, strings.ReplaceAll(name, "/", "-")+".txt"), []byte(lines.String()), 0o644); err != nil {
		return err
	}
	fmt.Printf("./%s: %s\n", name, summary(len(all), len(mutants), counts))
	for line := range strings.Lines(lines.String()) {
		if !strings.HasPrefix(line, string(killed)) && !strings.HasPrefix(line, string(notViable)) {
			fmt.Print("  ", line)
		}
	}
	return nil
}

// draw returns n of the mutants, one drawn from each of n stretches of equal length, the same ones every time; all of them where n is 0.
func draw(all []*mutant, n int) []*mutant {
	if n <= 0 || n >= len(all) {
		return all
	}
	random := rand.New(rand.NewPCG(1, 1))
	drawn := make([]*mutant, n)
	for i := range drawn {
		from, to := i*len(all)/n, (i+1)*len(all)/n
		drawn[i] = all[from+random.IntN(to-from)]
	}
	return drawn
}

// output runs a command and returns what it printed; its error is the command's.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
