// Package docs tests the documents beside it: that what they name is there, and that what is there is named.
package docs

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// text reads a file.
func text(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// documents are all Markdown files for readers, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "../*.md", "../config/samples/gitops/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			out[f] = text(t, f)
		}
	}
	return out
}

// prose is a document without its code blocks; lines keep their numbers.
func prose(document string) []string {
	lines := strings.Split(document, "\n")
	code := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || code {
			lines[i] = ""
		}
		if fence {
			code = !code
		}
	}
	return lines
}

func columns(row string) int {
	return strings.Count(strings.Trim(strings.ReplaceAll(row, `\|`, ""), "|"), "|") + 1
}

func TestTablesAreWhole(t *testing.T) {
	for name, document := range documents(t) {
		lines := prose(document)
		for i, line := range lines {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			if !strings.HasSuffix(line, "|") {
				t.Errorf("%s:%d: the row does not end", name, i+1)
			}
			if i > 0 && strings.HasPrefix(lines[i-1], "|") {
				if got, want := columns(line), columns(lines[i-1]); got != want {
					t.Errorf("%s:%d: %d columns, the row above has %d", name, i+1, got, want)
				}
			} else if i+1 == len(lines) || !regexp.MustCompile(`^\|(-+:?\|)+$|^\|(:?-+:?\|)+$`).MatchString(strings.ReplaceAll(lines[i+1], " ", "")) {
				t.Errorf("%s:%d: no line of dashes below the head of a table", name, i+1)
			}
		}
	}
}

// anchors are the headings of a document, as GitHub links to them.
func anchors(document string) map[string]bool {
	out := map[string]bool{}
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, line := range prose(document) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			out[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), ""), " ", "-")] = true
		}
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	all := documents(t)
	for name, document := range all {
		for _, m := range link.FindAllStringSubmatch(strings.Join(prose(document), "\n"), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s: %s is not there", name, m[1])
					continue
				}
			}
			if other, known := all[target]; anchor != "" && known && !anchors(other)[anchor] {
				t.Errorf("%s: %s: no such heading", name, m[1])
			}
		}
	}
}

// constants are the strings that a package's constants of some name hold.
func constants(t *testing.T, name string, folders ...string) []string {
	t.Helper()
	constant := regexp.MustCompile(`(?m)^\s*` + name + `\s*=\s*"(\w+)"`)
	found := map[string]bool{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		before := len(found)
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			for _, m := range constant.FindAllStringSubmatch(text(t, f), -1) {
				found[m[1]] = true
			}
		}
		if len(found) == before {
			t.Fatalf("%s names no %s", folder, name)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestEveryReasonIsExplained(t *testing.T) {
	_, chapter, found := strings.Cut(text(t, "operator.md"), "\n## Troubleshooting")
	if !found {
		t.Fatal("operator.md has no chapter Troubleshooting")
	}
	rows := map[string]bool{}
	for line := range strings.SplitSeq(chapter, "\n") {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `") {
			for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(cells[1], -1) {
				rows[m[1]] = true
			}
		}
	}
	reasons := constants(t, `[rR]eason[A-Z]\w*`, "internal/walk", "internal/stage", "controllers")
	for _, reason := range append(reasons, "SchedulingGated", "CreateContainerConfigError", "FailedScheduling") {
		if !rows[reason] {
			t.Errorf("operator.md does not explain %s", reason)
		}
	}
}

func TestEveryMetricIsExplained(t *testing.T) {
	name := regexp.MustCompile(`espalier_[a-z_]+`)
	document := text(t, "operator.md")
	registered := map[string]bool{}
	for _, m := range name.FindAllString(text(t, "../controllers/metrics.go")+text(t, "../controllers/census.go"), -1) {
		registered[m] = true
		if !strings.Contains(document, "`"+m+"`") && !strings.Contains(document, "`"+m+"{") {
			t.Errorf("operator.md does not explain %s", m)
		}
	}
	if len(registered) < 5 {
		t.Fatalf("metrics.go names %d metrics", len(registered))
	}
	for _, m := range name.FindAllString(document, -1) {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m, "")
		if !registered[m] && !registered[base] {
			t.Errorf("operator.md names %s, which the operator does not have", m)
		}
	}
}

func TestFilesThatCommandsNameAreThere(t *testing.T) {
	file := regexp.MustCompile(`(?:config|hack|dist)/[A-Za-z0-9_./-]+`)
	for name, document := range documents(t) {
		for _, f := range file.FindAllString(document, -1) {
			f = strings.TrimRight(f, "./")
			if _, err := os.Stat(filepath.Join("..", f)); err != nil {
				t.Errorf("%s names %s", name, f)
			}
		}
	}
}

func TestEveryFlagOfTheManagerThatIsNamedIsOne(t *testing.T) {
	_, flags := text(t, "operator.md"), text(t, "../cmd/espalier/manager.go")
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`Var\(&o\.[\w.]+, "([a-z-]+)"`).FindAllStringSubmatch(flags, -1) {
		known[m[1]] = true
	}
	_, chapter, found := strings.Cut(text(t, "operator.md"), "\n## The manager's flags")
	if !found {
		t.Fatal("operator.md has no chapter on the manager's flags")
	}
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(chapter, -1) {
		named[m[1]] = true
		if !known[m[1]] {
			t.Errorf("--%s is no flag of the manager", m[1])
		}
	}
	for flag := range known {
		if !named[flag] {
			t.Errorf("--%s is not explained", flag)
		}
	}
}

// testsOf are the names of a folder's tests.
func testsOf(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(text(t, f), -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// TestTheTestsThatAreNamedAreThere looks for tests by their whole names, as in `TestX`, `TestY` in `./folder`, and by what a command runs.
func TestTheTestsThatAreNamedAreThere(t *testing.T) {
	whole := regexp.MustCompile("((?:`Test\\w+`(?:, )?)+) in `\\./([A-Za-z0-9/]+)`")
	command := regexp.MustCompile(`go test (?:-\S+ )*\./([A-Za-z0-9/]+)(?: -\w+)*? -run\s+'?(\w+)`)
	found := 0
	for name, document := range documents(t) {
		for _, m := range whole.FindAllStringSubmatch(document, -1) {
			there := testsOf(t, m[2])
			for _, test := range regexp.MustCompile(`Test\w+`).FindAllString(m[1], -1) {
				found++
				if !slices.Contains(there, test) {
					t.Errorf("%s names %s, which ./%s does not have", name, test, m[2])
				}
			}
		}
		for _, m := range command.FindAllStringSubmatch(document, -1) {
			found++
			if m[2] != "NAME" && !slices.ContainsFunc(testsOf(t, m[1]), func(test string) bool { return strings.Contains(test, m[2]) }) {
				t.Errorf("%s: go test ./%s -run %s runs nothing", name, m[1], m[2])
			}
		}
	}
	if found < 50 {
		t.Errorf("the documents name %d tests", found)
	}
}

// TestTheTestsOfFaultsAreThere looks for the tests that the last column of a table names by a part of their names: in the folder that it
// names, in ./test/e2e those marked so, else in ./controllers or ./cmd/espalier.
func TestTheTestsOfFaultsAreThere(t *testing.T) {
	for _, page := range []string{"operator.md", "security.md"} {
		found := 0
		for line := range strings.Lines(text(t, page)) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			if len(cells) < 5 {
				continue
			}
			for part := range strings.SplitSeq(cells[len(cells)-2], ";") {
				folders := []string{"controllers", "cmd/espalier"}
				if m := regexp.MustCompile("in `\\./([A-Za-z0-9/]+)`").FindStringSubmatch(part); m != nil {
					folders = []string{m[1]}
				} else if strings.Contains(part, "*e2e* `") {
					folders = []string{"test/e2e"}
				}
				var there []string
				for _, folder := range folders {
					there = append(there, testsOf(t, folder)...)
				}
				for _, m := range regexp.MustCompile("`([A-Z][a-z]*[A-Z]\\w+|Decide)`").FindAllStringSubmatch(part, -1) {
					found++
					if !slices.ContainsFunc(there, func(test string) bool { return strings.Contains(test, m[1]) }) {
						t.Errorf("%s names %s, which is in none of %v", page, m[1], folders)
					}
				}
			}
		}
		if found < 8 {
			t.Errorf("%s names %d tests", page, found)
		}
	}
}

func TestEveryKindOfFaultHasATest(t *testing.T) {
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| (\\d+) \\| .* \\| .*`Test\\w+` in .*\\|$").FindAllStringSubmatch(text(t, "tenants.md"), -1) {
		rows[m[1]] = true
	}
	for n := 1; n <= 18; n++ {
		if !rows[strconv.Itoa(n)] {
			t.Errorf("tenants.md has no row for %d", n)
		}
	}
}

func TestTheTargetsOfMakeThatAreNamedAreThere(t *testing.T) {
	targets := regexp.MustCompile(`(?m)^([a-z0-9/-]+):`).FindAllStringSubmatch(text(t, "../Makefile"), -1)
	for name, document := range documents(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^\\$ |&& )make ([a-z0-9 -]+)").FindAllStringSubmatch(document, -1) {
			for _, target := range strings.Fields(m[1]) {
				if !slices.ContainsFunc(targets, func(known []string) bool { return known[1] == target }) {
					t.Errorf("%s: make %s: the Makefile has no such target", name, target)
				}
			}
		}
	}
}

func TestEveryValueOfTheChartIsExplained(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text(t, "../dist/chart/espalier/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for name, value := range values {
		group, ok := value.(map[string]any)
		if !ok || len(group) == 0 || name == "resources" {
			known[name] = true
			continue
		}
		for inner := range group {
			known[name+"."+inner] = true
		}
	}
	_, chapter, found := strings.Cut(text(t, "operator.md"), "\n| values | are |\n")
	if !found {
		t.Fatal("operator.md has no table of values")
	}
	chapter, _, _ = strings.Cut(chapter, "\n\n")
	named := map[string]bool{}
	for row := range strings.Lines(chapter) {
		for _, m := range regexp.MustCompile("`([A-Za-z.]+)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			named[m[1]] = true
		}
	}
	if diff := cmp.Diff(known, named); diff != "" {
		t.Errorf("values of the chart (-) and those that operator.md explains (+):\n%s", diff)
	}
}
