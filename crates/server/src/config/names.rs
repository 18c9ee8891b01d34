//! Models and what requests call them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::entries::RawModel;
use super::valid::{ModelFile, wrong};
use super::{ConfigError, RawConfig};

pub(super) fn models(raw: &RawConfig) -> Result<Vec<ModelFile>, ConfigError> {
    let mut models: Vec<ModelFile> = Vec::new();
    for RawModel { name, path } in &raw.models {
        let path = PathBuf::from(path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = if name.is_empty() { stem.to_owned() } else { name.clone() };
        if !is_model_name(&name) {
            let accepted = "a name without @ and spaces is expected, as in --model hall=PATH";
            return Err(wrong("models.name", name, accepted));
        }
        if models.iter().any(|model| model.name == name) {
            return Err(wrong("models.name", name, "it is taken; names must differ"));
        }
        models.push(ModelFile { name, path });
    }
    if models.is_empty() && raw.models_folder.0.is_none() {
        let accepted = "at least one checkpoint is expected: --model PATH, --models-folder FOLDER, or [[models]] \
             in the file";
        return Err(wrong("models", "[]", accepted));
    }
    Ok(models)
}

/// Whether a request can call a model by this name. An `@` separates name and version there.
pub(crate) fn is_model_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('@') && !name.contains(char::is_whitespace)
}

/// The name of the model that answers requests that name none. With a folder of models any name is
/// taken here: the service reads the folder later and refuses a name that it does not find.
pub(super) fn default_model(raw: &RawConfig, models: &[ModelFile]) -> Result<String, ConfigError> {
    let name = &raw.default_model;
    let names = || models.iter().map(|model| model.name.as_str());
    if name.is_empty() {
        return Ok(names().next().unwrap_or_default().to_owned());
    }
    let bare = name.split_once('@').map_or(name.as_str(), |(bare, _)| bare);
    let known = || names().chain(raw.aliases.0.keys().map(String::as_str));
    if raw.models_folder.0.is_none() && !known().any(|known| known == bare) {
        let known: Vec<&str> = known().collect();
        return Err(wrong("default_model", name, format!("accepted are {}", known.join(", "))));
    }
    Ok(name.to_owned())
}

pub(super) fn aliases(
    raw: &RawConfig,
    models: &[ModelFile],
) -> Result<BTreeMap<String, String>, ConfigError> {
    for (alias, target) in &raw.aliases.0 {
        if !is_model_name(alias) || models.iter().any(|model| model.name == *alias) {
            let accepted = "a name without @ and spaces is expected that no model has";
            return Err(wrong("aliases", alias, accepted));
        }
        let is_whole = |part: &str| is_model_name(part);
        if !target.split('@').all(is_whole) || target.matches('@').count() > 1 {
            let accepted = format!("name or name@version is expected for `{alias}`");
            return Err(wrong("aliases", target, accepted));
        }
    }
    Ok(raw.aliases.0.clone())
}
