// Package dataset reads the samples a model is trained, calibrated and measured on.
//
// Open takes a path and a Spec, which declares how the samples are stored, how a model wants them and how they are divided, and
// returns a Dataset: the three splits as Sources, and the digest that pins the content. It reads .npz files, folders of arrays
// (.npy, raw .bin, labels in .csv), IDX folders such as MNIST's, TFRecord files of tf.train.Example, tables (.csv, .tsv), folders of
// images or recordings by class or as a .csv lists them, Parquet and WebDataset's tars; the format is recognised from the path unless the Spec names it.
//
// # Memory
//
// A Source holds an index and the labels; samples are read from disk when asked for. What is compressed on disk as a stream
// (a deflated .npz member, a .gz), or by columns (Parquet), cannot be read at random: up to 64 MiB it is held in memory, larger it is decompressed once to
// a temporary file that has no name any more as soon as it is open, so nothing is left behind however the process ends.
//
// # From stored values to samples
//
// Every sample takes the same way, in this order: recordings resampled, cut and turned into features; stored
// values made real by Stored.Scale and ZeroPoint; transposed to
// channels-last; resized; cropped; channels ordered; multiplied by Scale and Offset added; Mean subtracted and divided by Std;
// reshaped. What is augmented (Epoch) is shifted, flipped and cropped where it would be cropped anyway, so that new pixels are
// stored zeros, and given noise at the end.
//
// Invariant: a sample depends on the content, the Spec and, augmented, on (seed, epoch, index) alone; a Source may be read by
// many goroutines at once.
package dataset
