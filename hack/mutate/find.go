package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// outcome is what became of a mutant.
type outcome string

const (
	killed     outcome = "killed"
	survived   outcome = "survived"
	endless    outcome = "endless"
	notCovered outcome = "not covered"
	notViable  outcome = "not viable" // does not compile: no mutant
)

// mutant is one token of a file, replaced by another.
type mutant struct {
	file       *source
	offset     int // bytes, of the token
	line, col  int // from 1
	from, to   string
	outcome    outcome
	identifier int // of its copy, from 1
}

// String is where the mutant lies, what it changes, and the line.
func (m *mutant) String() string {
	line, _, _ := strings.Cut(m.file.text[strings.LastIndexByte(m.file.text[:m.offset], '\n')+1:], "\n")
	return fmt.Sprintf("%s:%d:%d %s → %s: %s", m.file.name, m.line, m.col, m.from, m.to, strings.TrimSpace(line))
}

// changed is the text of the file from offset low to high, with the mutant in it.
func (m *mutant) changed(low, high int) string {
	return m.file.text[low:m.offset] + m.to + m.file.text[m.offset+len(m.from):high]
}

// source is a file of the package.
type source struct {
	name, path, text string
	set              *token.FileSet
	tree             *ast.File
}

// offset is where pos lies in the text.
func (s *source) offset(pos token.Pos) int { return s.set.Position(pos).Offset }

// function returns the declared function around an offset, nil outside of all.
func (s *source) function(offset int) *ast.FuncDecl {
	for _, d := range s.tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil && s.offset(f.Pos()) <= offset && offset < s.offset(f.End()) {
			return f
		}
	}
	return nil
}

// swaps are what gremlins' kinds of mutants, those that it has on by default, put for a token. Longer tokens come first.
var swaps = map[string][][2]string{
	"ARITHMETIC_BASE":       {{"+", "-"}, {"-", "+"}, {"*", "/"}, {"/", "*"}, {"%", "*"}},
	"CONDITIONALS_BOUNDARY": {{">=", ">"}, {"<=", "<"}, {">", ">="}, {"<", "<="}},
	"CONDITIONALS_NEGATION": {{"==", "!="}, {"!=", "=="}, {">=", "<"}, {"<=", ">"}, {">", "<="}, {"<", ">="}},
	"INCREMENT_DECREMENT":   {{"++", "--"}, {"--", "++"}},
	"INVERT_NEGATIVES":      {{"-", "+"}},
}

// find lists the mutants that gremlins has for the package, in the order of its code. It is asked for them only, as a dry run: the go that it
// calls to learn what the tests cover answers that they cover nothing.
func find(ctx context.Context, p listed, scratch string) ([]*mutant, error) {
	if err := os.WriteFile(filepath.Join(scratch, "go"), []byte("#!/bin/sh\n[ \"$1\" != test ] || echo mode: set >\"$4\"\n"), 0o755); err != nil {
		return nil, err
	}
	report := filepath.Join(scratch, "gremlins.json")
	gremlins := exec.CommandContext(ctx, "bin/gremlins", "unleash", "--dry-run", "-E", "/", "-E", "^zz_generated", "-o", report, p.Dir)
	gremlins.Env = append(os.Environ(), "PATH="+scratch+":"+os.Getenv("PATH"), "TMPDIR="+scratch)
	if _, err := output(gremlins); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(report)
	if errors.Is(err, fs.ErrNotExist) { // there are none
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var found struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type         string
				Line, Column int
			}
		}
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, err
	}

	var mutants []*mutant
	for _, f := range found.Files {
		if !slices.Contains(p.GoFiles, f.Name) { // of another platform
			continue
		}
		file, err := read(p.Dir, f.Name)
		if err != nil {
			return nil, err
		}
		for _, g := range f.Mutations {
			offset := file.offset(file.set.File(file.tree.Pos()).LineStart(g.Line)) + g.Column - 1
			swap := slices.IndexFunc(swaps[g.Type], func(s [2]string) bool { return strings.HasPrefix(file.text[offset:], s[0]) })
			if swap < 0 {
				return nil, fmt.Errorf("%s:%d:%d: no such change is known: %s", f.Name, g.Line, g.Column, g.Type)
			}
			mutants = append(mutants, &mutant{file: file, offset: offset, line: g.Line, col: g.Column, from: swaps[g.Type][swap][0], to: swaps[g.Type][swap][1]})
		}
	}
	slices.SortFunc(mutants, func(a, b *mutant) int {
		return cmp.Or(cmp.Compare(a.file.name, b.file.name), cmp.Compare(a.offset, b.offset), cmp.Compare(a.to, b.to))
	})
	return slices.CompactFunc(mutants, func(a, b *mutant) bool { // a - b is named twice
		return a.file.name == b.file.name && a.offset == b.offset && a.to == b.to
	}), nil
}

// read reads and parses a file of a folder.
func read(dir, name string) (*source, error) {
	s := &source{name: name, path: filepath.Join(dir, name), set: token.NewFileSet()}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	s.text = string(text)
	s.tree, err = parser.ParseFile(s.set, s.path, text, parser.SkipObjectResolution)
	return s, err
}
