package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// code is a package with every form of function that is copied, or is not.
const code = `package p

import "strings"

const Base = 2 + 3

type Set[T comparable] map[T]int

func (s Set[T]) Add(v T, _ ...int) int {
	s[v]++
	return len(s) + s[v]
}

type point struct{ x, y int }

func (p *point) move(by int) { p.x += by + 1 }

func (point) zero() (_ bool) { return 1 > 1 }

func Sum[T int | string](first T, rest ...T) (sum T, n int) {
	sum = first
	for i := 0; i < len(rest); i++ {
		sum += rest[i]
	}
	return sum, n + len(rest)
}

func Join(a, b string) string { return a + "/" + b }

func Guarded(f func()) (ok bool) {
	defer func() { ok = recover() == nil }()
	f()
	return
}

func caught(ok *bool) { *ok = recover() == nil }

func Class(n int) string {
	switch {
	case n > 9:
		return strings.Repeat("9", n-9)
	case n > 4:
		return "some"
	}
	return "few"
}

func Wait(n int) int {
	for i := 0; i < n; i++ {
		n--
	}
	return n
}

func unused(n int) int { return n * 2 }

func init() {
	if Base != 5 {
		panic("Base is not 5")
	}
}
`

const tests = `package p

import "testing"

func TestAll(t *testing.T) {
	s := Set[string]{}
	s.Add("a")
	if s.Add("b", 1, 2) != 3 {
		t.Error("Add")
	}
	p := &point{}
	if p.move(1); p.x != 2 || p.zero() {
		t.Error("point")
	}
	if sum, n := Sum(1, 2, 3); sum != 6 || n != 2 {
		t.Error("Sum")
	}
	if Join("a", "b") != "a/b" {
		t.Error("Join")
	}
	if !Guarded(func() {}) || Guarded(func() { panic(1) }) {
		t.Error("Guarded")
	}
	ok := true
	func() {
		defer caught(&ok)
		panic(1)
	}()
	if ok {
		t.Error("caught")
	}
}

func TestClass(t *testing.T) {
	if Class(12) != "999" || Class(5) != "some" {
		t.Error("Class")
	}
}

func TestWait(t *testing.T) {
	if Wait(4) != 2 {
		t.Error("Wait")
	}
}
`

const others = `package q

import (
	"testing"

	"example.com/p"
)

func TestClass(t *testing.T) {
	if p.Class(9) != "some" {
		t.Error("Class")
	}
}
`

func TestMutantsOfEveryFormOfFunctionMeetTheirFate(t *testing.T) {
	p := listed{Dir: t.TempDir(), ImportPath: "example.com/p", Name: "p", GoFiles: []string{"p.go"}}
	for name, text := range map[string]string{"go.mod": "module example.com/p\n\ngo 1.26\n", "p.go": code, "p_test.go": tests} {
		if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := read(p.Dir, "p.go")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]outcome{}
	var mutants []*mutant
	for _, c := range []struct {
		in, from, to string // the token lies in, and is
		outcome      outcome
	}{
		{"2 + 3", "+", "-", killed},
		{"s[v]++", "++", "--", killed},
		{"len(s) + s[v]", "+", "-", killed},
		{"by + 1", "+", "-", killed},
		{"1 > 1", ">", ">=", killed},
		{"i < len(rest)", "<", "<=", killed},
		{"n + len(rest)", "+", "-", killed},
		{`a + "/"`, "+", "-", notViable},
		{"ok = recover() == nil", "==", "!=", killed},
		{"*ok = recover() == nil", "==", "!=", killed},
		{"n > 9", ">", ">=", survived},
		{"n-9", "-", "+", killed},
		{"n > 4", ">", ">=", survived},
		{"n > 4", ">", "<=", killed},
		{"n--", "--", "++", endless},
		{"n * 2", "*", "/", notCovered},
		{"Base != 5", "!=", "==", killed},
	} {
		offset := strings.Index(code, c.in) + strings.Index(c.in, c.from)
		position := file.set.Position(file.set.File(file.tree.Pos()).Pos(offset))
		m := &mutant{file: file, offset: offset, line: position.Line, col: position.Column, from: c.from, to: c.to, identifier: len(mutants) + 1}
		mutants = append(mutants, m)
		want[m.String()] = c.outcome
	}

	s, err := trace(t.Context(), p, p, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := (trial{p, p, s, t.TempDir(), 1}).try(t.Context(), mutants); err != nil {
		t.Fatal(err)
	}
	got := map[string]outcome{}
	for _, m := range mutants {
		got[m.String()] = m.outcome
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}

	q := listed{Dir: filepath.Join(p.Dir, "q"), ImportPath: "example.com/p/q", Name: "q"}
	if err := os.Mkdir(q.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(q.Dir, "q_test.go"), []byte(others), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err = trace(t.Context(), p, q, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := (trial{p, q, s, t.TempDir(), 1}).try(t.Context(), mutants); err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		switch name := m.String(); {
		case strings.HasSuffix(name, "case n > 9:"): // which these tests notice
			want[name] = killed
			fallthrough
		default:
			if m.outcome != want[name] {
				t.Errorf("with the tests of another package: %s is %s, want %s", name, m.outcome, want[name])
			}
		}
	}
}

func TestASampleHasOneMutantOfEachStretch(t *testing.T) {
	all := make([]*mutant, 103)
	for i := range all {
		all[i] = &mutant{offset: i}
	}
	drawn := draw(all, 10)
	for i, m := range drawn {
		if m.offset < i*103/10 || m.offset >= (i+1)*103/10 {
			t.Errorf("mutant %d of the sample is %d of all", i, m.offset)
		}
	}
	if again := draw(all, 10); !cmp.Equal(again, drawn, cmp.Comparer(func(a, b *mutant) bool { return a == b })) {
		t.Error("another sample the second time")
	}
	if n := len(draw(all, 0)); n != 103 {
		t.Errorf("no sample asked for: %d of 103", n)
	}
	if n := len(draw(all, 200)); n != 103 {
		t.Errorf("a sample greater than all: %d of 103", n)
	}
}

func TestIntervalOfAShare(t *testing.T) {
	for _, c := range []struct {
		k, n       int
		population float64
		low, high  float64
	}{
		{81, 263, math.Inf(1), 0.2553, 0.3662}, // Newcombe, Statistics in Medicine 17 (1998), table I
		{15, 148, math.Inf(1), 0.0624, 0.1605},
		{0, 20, math.Inf(1), 0, 0.1611},
		{20, 20, math.Inf(1), 0.8389, 1},
		{9, 10, 10, 0.9, 0.9}, // all are known
		{90, 100, 101, 0.8945, 0.9052},
	} {
		population := min(c.population, 1e12)
		low, high := interval(c.k, c.n, population)
		if math.Abs(low-c.low) > 1e-3 || math.Abs(high-c.high) > 1e-3 {
			t.Errorf("interval(%d, %d, %g) = %.4f, %.4f, want %.4f, %.4f", c.k, c.n, population, low, high, c.low, c.high)
		}
	}
}

func TestSummary(t *testing.T) {
	counts := map[outcome]int{killed: 40, survived: 5, notCovered: 2, endless: 1, notViable: 12}
	for want, all := range map[string]int{
		"48 mutants: 40 killed, 1 endless, 5 survived, 2 not covered: score 83.3 %":                                          60,
		"48 mutants: 40 killed, 1 endless, 5 survived, 2 not covered: score 83.3 % (95 %: 71 to 91 %, of about 480 mutants)": 600,
	} {
		if got := summary(all, 60, counts); got != want {
			t.Errorf("summary of 60 of %d:\n got %s\nwant %s", all, got, want)
		}
	}
}
