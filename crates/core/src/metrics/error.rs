/// What a metric is not defined for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The two lists do not belong together.
    #[error("{scores} scores but {labels} labels; one label a score is expected")]
    Length {
        /// Number of scores.
        scores: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A score was NaN.
    #[error("score {index} is NaN; finite scores are expected")]
    NotANumber {
        /// Its position.
        index: usize,
    },
    /// A ranking needs both classes.
    #[error("all {frames} frames are {only}; both normal and abnormal frames are needed")]
    OneClass {
        /// Number of frames.
        frames: usize,
        /// The class that all belong to.
        only: &'static str,
    },
    /// An interval by video needs several videos.
    #[error("{found} videos; an interval by video needs at least 2")]
    Videos {
        /// Number of videos.
        found: usize,
    },
    /// An interval needs resamples, and a level between none and all.
    #[error("{field} is {found}; {expected} is expected")]
    Option {
        /// The option.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A video's alarms do not belong to its labels.
    #[error("video {video} has {alarms} alarm states but {labels} labels; one a frame is expected")]
    Alarms {
        /// Position of the video.
        video: usize,
        /// Its alarm states.
        alarms: usize,
        /// Its labels.
        labels: usize,
    },
    /// A map that is not one value a cell.
    #[error(
        "the map of frame {frame} of video {video} is {found}; height x width x 1 finite values with sides of at least 1 are expected"
    )]
    Map {
        /// Position of the video.
        video: usize,
        /// Position of the frame in it.
        frame: usize,
        /// What is wrong with it.
        found: String,
    },
    /// Masks of one video that differ in size.
    #[error(
        "the mask of frame {frame} of video {video} is {height}x{width} pixels; {first_height}x{first_width} is expected, the size of the video's first mask"
    )]
    MaskSize {
        /// Position of the video.
        video: usize,
        /// Position of the frame in it.
        frame: usize,
        /// The mask's height in pixels.
        height: usize,
        /// The mask's width in pixels.
        width: usize,
        /// Height of the video's first mask.
        first_height: usize,
        /// Width of the video's first mask.
        first_width: usize,
    },
    /// Nothing to be found.
    #[error("the masks of {frames} frames mark nothing; at least one marked region is needed")]
    NoRegions {
        /// Number of frames.
        frames: usize,
    },
    /// Pixels of one class only.
    #[error("all {pixels} pixels are {only}; both normal and abnormal pixels are needed")]
    OnePixelClass {
        /// Number of pixels.
        pixels: u64,
        /// The class that all belong to.
        only: &'static str,
    },
}
