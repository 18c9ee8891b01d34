//! Where videos lie on disk: folders of pictures and video files, in the order in which people
//! number things.

mod error;
mod folder;
mod natural;
mod size;
mod videos;

pub use error::FilesError;
pub use folder::{Folder, name_of};
pub use natural::natural_order;
pub use size::OneSize;
pub use videos::{Video, VideoSource, videos_in, videos_under};
