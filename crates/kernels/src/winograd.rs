//! Convolutions with a quarter of the multiplications: Winograd's minimal filtering F(4×4, 3×3)
//! (Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016).
//!
//! A tile of 4 × 4 outputs depends on 6 × 6 inputs. Both are polynomials' values in disguise: with
//! inputs and kernel evaluated at six points a side (`Bᵀ d B` and `G g Gᵀ`), the outputs follow
//! from 36 products (`Aᵀ m A`) instead of 144, and over channels the products are 36 matrix
//! products. The points are 0, ±√½, ±√2 and infinity: with the usual 0, ±1, ±2 rounding errors were
//! five times as large, and with these they are 1.5 times those of a direct convolution. Around a
//! bf16 convolution the transforms are f32 too, and the factors bf16 or f32, whichever the
//! processor multiplies faster.

mod calls;
mod probe;
#[cfg(test)]
mod tests;
mod trained;
mod weights;

pub use probe::{fastest_factors, gains_by_bf16};
pub use trained::trained;
pub use weights::{WinogradWeights, fits};
