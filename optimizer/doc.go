// Package optimizer is the root of the library that compresses trained TFLite networks: it prunes, clusters and quantizes them step by
// step so that no step undoes the step before, and emits int8 leaves that are checked against what was promised of them. The example
// shows a whole lineage.
//
// Package lineage strings it together: a Network, the techniques that make another of it, and its leaf. The parts are packages of their
// own: tflite (the format), ir (the parsed graph), exec/float and exec/integer (execution), weight (the parametrization), prune, cluster,
// quantize (what the techniques choose), sensitivity (what layers bear), train (the loop), dataset, measure, report.
package optimizer

// AlgorithmVersion changes when the same inputs give other bytes than before. It is part of every stage's name in a store.
const AlgorithmVersion = "11"
