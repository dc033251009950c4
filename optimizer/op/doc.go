// Package op is the table of operators: what is known of each that is data, an operator or a family of one kind in a file. It
// imports nothing but the format's enumerations, so that whoever reads, plans, trains or runs a model can ask it.
//
// Three more places hold the code of an operator, in files of the same names, each listed in one map: its shape rule (package ir),
// its float forward and backward pass (exec/float) and its integers (exec/integer). docs/design.md says how to add one;
// docs/operators.md lists them all, generated from this table and those maps.
package op
