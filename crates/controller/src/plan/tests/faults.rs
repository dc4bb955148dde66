//! What the operators before this one got wrong, fault by fault. Each test is named after the fault and ends in where it was reported:
//! the repository (kubeflow/trainer where none is named) and the number.

#![allow(non_snake_case)] // the number of a report stands apart from what it reported

mod ending;
mod restarting;
mod telling;
