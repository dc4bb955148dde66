//! Bugs of older operators, one by one. Each test is named after the bug and ends in where it was
//! reported: the repository (kubeflow/trainer if none is named) and the number.

#![allow(non_snake_case)] // two underscores precede the number of the report

mod ending;
mod reporting;
mod restarting;
