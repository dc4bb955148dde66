//! The rows of the contract's section 5, by table and by property. Every test drives a
//! [`World`](world::World): a job, its pods and services, and a clock, in which plans are carried
//! out faithfully.

mod adoption;
mod failure;
mod finish;
mod lifecycle;
mod properties;
mod regressions;
mod restarts;
mod suspend;
mod transposed;
mod world;
