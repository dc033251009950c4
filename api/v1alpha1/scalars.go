package v1alpha1

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CheckScalars refuses unquoted values of a YAML document that are other numbers to one version of YAML than to another, such as 010, and
// those that are no finite number. Errors name the field.
func CheckScalars(document []byte) error {
	var root yaml.Node
	if yaml.Unmarshal(document, &root) != nil {
		return nil // what is wrong with the document is said by what reads it
	}
	return checkScalars(&root, "")
}

func checkScalars(n *yaml.Node, path string) error {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			if err := checkScalars(n.Content[i], below); err != nil {
				return err
			}
			if err := checkScalars(n.Content[i+1], below); err != nil {
				return err
			}
		}
	case yaml.ScalarNode:
		if n.Style == 0 {
			return checkPlain(n.Value, path)
		}
	default:
		for i, child := range n.Content {
			below := path
			if n.Kind == yaml.SequenceNode {
				below = fmt.Sprintf("%s[%d]", path, i)
			}
			if err := checkScalars(child, below); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]+$`)
	otherBase   = regexp.MustCompile(`^[-+]?0([xX][0-9a-fA-F_]+|[oO][0-7_]+|[bB][01_]+)$`)
	notFinite   = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// checkPlain refuses one unquoted value.
func checkPlain(value, path string) error {
	digits := strings.ReplaceAll(strings.TrimPrefix(value, "+"), "_", "")
	switch {
	case leadingZero.MatchString(value):
		decimal := strings.TrimLeft(strings.TrimPrefix(digits, "-"), "0")
		if decimal == "" {
			decimal = "0"
		}
		if octal, err := strconv.ParseInt(digits, 8, 64); err == nil && octal != 0 {
			return fmt.Errorf("%s: %s is %d to some readers of YAML and %s to others: write the one you mean, or quote it where it is a text", path, value, octal, decimal)
		}
		return fmt.Errorf("%s: %s is %s with a zero before it to some readers of YAML and a text to others: write %s, or quote it where it is a text", path, value, decimal, decimal)
	case otherBase.MatchString(value):
		if n, err := strconv.ParseInt(digits, 0, 64); err == nil {
			return fmt.Errorf("%s: %s is %d to some readers of YAML and a text to others: write %d, or quote it where it is a text", path, value, n, n)
		}
		return fmt.Errorf("%s: %s is a number to some readers of YAML and a text to others: write it in decimals, or quote it where it is a text", path, value)
	case notFinite.MatchString(value):
		return fmt.Errorf("%s: %s is no finite number: write a decimal, or quote it where it is a text", path, value)
	}
	return nil
}
