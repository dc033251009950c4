// Package controllers is the operator: it walks each OptimizationPipeline's tree with one Job a stage. Reconcile observes the owned Jobs
// and their pods, has internal/walk decide, acts (creates and deletes Jobs), and patches the status once, if it changed. The decisions
// are those of `espalier run`; what a Job's container is told and answers is internal/stage's.
//
// Nothing but the status and the Jobs is remembered: a controller that is killed anywhere goes on where another left off. What is kept
// in memory (places within the in-flight bound, Jobs just created, explanations from events) is rebuilt or found again.
//
// Invariants: the name of a Job follows from the pipeline, the stage's inputs and the attempt, so that an attempt has one Job however
// often it is created; an attempt's outcome is in the status before its Job may go.
package controllers
