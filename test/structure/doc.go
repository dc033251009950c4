// Package structure holds tests that build random small networks from the table of operators and hold what Espalier makes of them
// against a plain evaluator, differences in place of gradients, and its own plain loops.
package structure
