package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// variable is the environment variable that picks the mutant.
const variable = "ESPALIER_MUTANT"

// picked declares the mutant that runs.
const picked = `package %s

import "os"

var mutant__ = os.Getenv("` + variable + `")
`

// build compiles the tests of a package with all the mutants of p in it, which all lie in functions that can be copied. What does not compile
// is marked and left out.
func build(ctx context.Context, p, tester listed, scratch, binary string, mutants []*mutant) error {
	for {
		files := map[string]string{filepath.Join(p.Dir, "mutant__.go"): fmt.Sprintf(picked, p.Name)}
		byFile := map[*source][]*mutant{}
		for _, m := range mutants {
			if m.outcome != notViable {
				byFile[m.file] = append(byFile[m.file], m)
			}
		}
		for file, mutants := range byFile {
			files[file.path] = copies(file, mutants)
		}
		said, err := compile(ctx, tester, scratch, binary, files)
		if err == nil {
			return nil
		}
		guilty := refused(said)
		for _, m := range mutants {
			if guilty[m.identifier] {
				m.outcome = notViable
			}
		}
		if len(guilty) == 0 {
			return err
		}
	}
}

var where = regexp.MustCompile(`(?m)^[^ ]*mutant__(\d+)\.go:\d+`)

// refused returns the mutants in whose copies the compiler found errors.
func refused(said string) map[int]bool {
	guilty := map[int]bool{}
	for _, found := range where.FindAllStringSubmatch(said, -1) {
		id, _ := strconv.Atoi(found[1])
		guilty[id] = true
	}
	return guilty
}

// compile builds the tests of a package with other texts for some files, and returns what the compiler said.
func compile(ctx context.Context, tester listed, scratch, binary string, files map[string]string) (string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range files {
		copied := filepath.Join(scratch, filepath.Base(path))
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[path] = copied
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-w", "-gcflags=-e", "-overlay", file, "-o", binary, ".")
	build.Dir = tester.Dir
	return output(build)
}

// copiable says whether another function can stand for this one: not where the function looks at its caller.
func copiable(f *ast.FuncDecl) bool {
	if f == nil || f.Name.Name == "_" {
		return false
	}
	can := true
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // whose caller stays the same
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "recover" {
				can = false
			}
		case *ast.SelectorExpr:
			if strings.HasPrefix(n.Sel.Name, "Caller") {
				can = false
			}
		}
		return can
	})
	return can
}

// copies is the text of a file in which every function that has mutants calls, by what the environment says, a copy of it with one of them.
func copies(file *source, mutants []*mutant) string {
	var b strings.Builder
	written := 0
	for i := 0; i < len(mutants); {
		f := file.function(mutants[i].offset)
		end := file.offset(f.End())
		next := i
		for next < len(mutants) && mutants[next].offset < end {
			next++
		}
		b.WriteString(file.text[written:file.offset(f.Pos())])
		dispatch(&b, file, f, mutants[i:next])
		fmt.Fprintf(&b, "\n//line %s:%d\n", file.name, file.set.Position(f.End()).Line)
		written, i = end, next
	}
	b.WriteString(file.text[written:])
	return b.String()
}

// dispatch writes a function that calls one of its copies, and the copies.
func dispatch(b *strings.Builder, file *source, f *ast.FuncDecl, mutants []*mutant) {
	text := func(n ast.Node) string { return file.text[file.offset(n.Pos()):file.offset(n.End())] }
	callee := "%s__%s"
	b.WriteString("func ")
	if f.Recv != nil {
		fmt.Fprintf(b, "(r__ %s) ", text(f.Recv.List[0].Type))
		callee = "r__.%s__%s"
	}
	b.WriteString(f.Name.Name)
	if f.Type.TypeParams != nil {
		b.WriteString(text(f.Type.TypeParams))
		var names []string
		for _, field := range f.Type.TypeParams.List {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
		callee += "[" + strings.Join(names, ", ") + "]"
	}
	var params, args, results []string
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			name := fmt.Sprintf("p%d__", len(params))
			params = append(params, name+" "+text(field.Type))
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				name += "..."
			}
			args = append(args, name)
		}
	}
	call := "return " + callee
	if f.Type.Results == nil {
		call = callee
	} else {
		for _, field := range f.Type.Results.List {
			results = append(results, slices.Repeat([]string{text(field.Type)}, max(1, len(field.Names)))...)
		}
	}
	call += "(" + strings.Join(args, ", ") + ")"
	original := "o" + strconv.Itoa(mutants[0].identifier)
	fmt.Fprintf(b, "(%s) (%s) {\nswitch mutant__ {\n", strings.Join(params, ", "), strings.Join(results, ", "))
	for _, m := range mutants {
		fmt.Fprintf(b, "case \"%d\":\n"+call+"\n", m.identifier, f.Name.Name, strconv.Itoa(m.identifier))
		if f.Type.Results == nil {
			b.WriteString("return\n")
		}
	}
	fmt.Fprintf(b, "}\n"+call+"\n}\n", f.Name.Name, original)

	head, name, end := file.offset(f.Pos()), file.offset(f.Name.Pos()), file.offset(f.End())
	rest := name + len(f.Name.Name)
	fmt.Fprintf(b, "\n%s%s__%s%s\n", file.text[head:name], f.Name.Name, original, file.text[rest:end])
	for _, m := range mutants {
		fmt.Fprintf(b, "\n//line mutant__%d.go:1\n%s%s__%d%s\n", m.identifier, file.text[head:name], f.Name.Name, m.identifier, m.changed(rest, end))
	}
}
