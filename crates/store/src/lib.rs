//! Core values to files and back: question sets, label tables, router files, curves, manifests.
