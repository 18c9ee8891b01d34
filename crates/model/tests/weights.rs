//! A network's weights, to a file and back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use protoguard_checkpoint::Checkpoint;
use protoguard_model::{Batch, Network};
use tch::Device;

#[test]
fn a_network_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    Checkpoint::new(fixture::content()).unwrap().write(&path).unwrap();
    let config = fixture::config();
    let original = fixture::network(&config);
    let restored =
        Network::from_checkpoint(&Checkpoint::read(&path).unwrap(), Device::Cpu).unwrap();
    assert_eq!(restored.to_arrays().unwrap(), original.to_arrays().unwrap());
    let batch = Batch::from_clips(&fixture::clips(config.shape, 2), Device::Cpu).unwrap();
    let predict = |network: &Network| network.forward_inference(&batch.input, true).unwrap();
    assert_eq!(predict(&restored).prediction, predict(&original).prediction);
    let motion = |network| predict(network).motion.unwrap().maps;
    assert_eq!(motion(&restored), motion(&original));
}
