// Package answer decides once what each output of a network says: classes, yes or no, numbers, its input again. Describe looks at how
// the output is made, at the dataset's targets and at what the network answers; whoever trains, measures, checks or reports reads its
// Outputs and decides nothing anew.
//
// docs/design.md says how to add a kind.
package answer
