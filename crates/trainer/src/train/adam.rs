//! Adam with its state in the open.

use protoguard_kernels::adam::{AdamConstants, AdamTensors, forget_gradients, fused_adam};
use protoguard_model::ModelError;
use tch::{Kind, Tensor, no_grad};

/// Adam (Kingma and Ba, 2015) over named parameters, with its moments in the open.
///
/// tch's own optimiser hides its state, and a checkpoint must hold it for training to go on.
#[derive(Debug)]
pub struct Adam {
    slots: Vec<Slot>,
    steps: u64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    first_moment: Tensor,
    second_moment: Tensor,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// A tensor and the name it has in a checkpoint.
#[derive(Debug)]
pub struct NamedState {
    /// Such as `first_moment.encoder.1.conv1.weight`.
    pub name: String,
    /// Shares storage with the optimiser.
    pub tensor: Tensor,
}

impl Adam {
    /// Moments of zero for every parameter.
    pub fn new(parameters: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        let slots = parameters
            .into_iter()
            .map(|(name, parameter)| Slot {
                name,
                first_moment: parameter.zeros_like(),
                second_moment: parameter.zeros_like(),
                parameter,
            })
            .collect();
        Self { slots, steps: 0 }
    }

    /// Forgets the gradients of the last step.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn forget_gradients(&mut self) -> Result<(), ModelError> {
        let parameters = self.slots.iter_mut().map(|slot| &mut slot.parameter);
        Ok(forget_gradients(&mut parameters.collect::<Vec<_>>())?)
    }

    /// Moves every parameter that has a gradient, with bias-corrected moments, in one pass over
    /// memory.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn step(&mut self, learning_rate: f64) -> Result<(), ModelError> {
        self.steps += 1;
        let moving = || self.slots.iter().filter(|slot| slot.parameter.grad().defined());
        let list = |of: fn(&Slot) -> Tensor| moving().map(of).collect::<Vec<_>>();
        let mut parameters = list(|slot| slot.parameter.shallow_clone());
        let Some(first) = parameters.first() else { return Ok(()) };
        // On the parameters' device: a GPU's kernel reads it there.
        let count = Tensor::f_full([], self.steps as f64, (Kind::Float, first.device()))?;
        let tensors = AdamTensors {
            gradients: &list(|slot| slot.parameter.grad()),
            first_moments: &mut list(|slot| slot.first_moment.shallow_clone()),
            second_moments: &mut list(|slot| slot.second_moment.shallow_clone()),
            steps: &parameters.iter().map(|_| count.shallow_clone()).collect::<Vec<_>>(),
            parameters: &mut parameters,
        };
        let constants =
            AdamConstants { learning_rate, beta1: BETA1, beta2: BETA2, epsilon: EPSILON };
        Ok(no_grad(|| fused_adam(tensors, &constants))?)
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on as if `steps` had been taken; the moments are set through [`Adam::state`].
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// The moments, named for a checkpoint.
    pub fn state(&self) -> Vec<NamedState> {
        let named = |kind: &str, name: &str, tensor: &Tensor| NamedState {
            name: format!("{kind}.{name}"),
            tensor: tensor.shallow_clone(),
        };
        self.slots
            .iter()
            .flat_map(|slot| {
                [
                    named("first_moment", &slot.name, &slot.first_moment),
                    named("second_moment", &slot.name, &slot.second_moment),
                ]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// The same update in plain arithmetic.
    fn reference(mut x: f64, gradients: &[f64], learning_rate: f64) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (step, g) in gradients.iter().enumerate() {
            let t = i32::try_from(step + 1).unwrap();
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            x -= learning_rate * (m / (1.0 - 0.9f64.powi(t)))
                / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
        }
        x
    }

    #[test]
    fn follows_the_published_update() {
        let x = Tensor::full([1], 1.0, (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let mut adam = Adam::new([("x".to_owned(), x.shallow_clone())]);
        let gradients = [0.5, -2.0, 0.0, 3.0];
        for gradient in gradients {
            adam.forget_gradients().unwrap();
            (&x * gradient).sum(Kind::Double).backward();
            adam.step(0.1).unwrap();
        }
        let expected = reference(1.0, &gradients, 0.1);
        assert!((x.double_value(&[0]) - expected).abs() < 1e-12);
        assert_eq!(adam.steps(), 4);
        assert_eq!(adam.state()[1].name, "second_moment.x");
    }

    #[test]
    fn a_parameter_without_gradient_stays() {
        let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut adam = Adam::new([("x".to_owned(), x.shallow_clone())]);
        adam.step(0.1).unwrap();
        assert_eq!(x.double_value(&[1]), 1.0);
    }
}
