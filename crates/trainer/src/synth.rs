//! The `synth` command.

use protoguard_datasets::synth::write_dataset;
use protoguard_frames::scenes::SynthConfig;

use crate::cli::SynthArgs;

pub(crate) fn run(args: &SynthArgs) -> anyhow::Result<()> {
    let config = SynthConfig {
        seed: args.seed,
        training_videos: args.training_videos,
        testing_videos: args.testing_videos,
        frames_per_video: args.frames,
        height: args.height,
        width: args.width,
    };
    write_dataset(&config, &args.out)?;
    tracing::info!(
        training_videos = args.training_videos,
        testing_videos = args.testing_videos,
        frames = args.frames,
        "wrote {}",
        args.out.display()
    );
    Ok(())
}
