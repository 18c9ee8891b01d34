use clap::ValueEnum;

/// A configuration that comes with the program: the layer above the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The paper's size, losses and memory to the letter, to compare with
    Paper,
    /// A quarter of the pixels and a seventh of the channels: about an hour on two cores
    Cpu,
    /// The paper's size with what was found to be better, for a GPU
    Full,
}

impl Preset {
    /// The TOML that it is.
    pub fn toml(self) -> &'static str {
        match self {
            Self::Paper => include_str!("../../presets/paper.toml"),
            Self::Cpu => include_str!("../../presets/cpu.toml"),
            Self::Full => include_str!("../../presets/full.toml"),
        }
    }
}
