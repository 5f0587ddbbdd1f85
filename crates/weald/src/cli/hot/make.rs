//! Making, persisting and removing regions.

use std::path::PathBuf;

use clap::Args;
use weald::hot::{Opened, Region};

use super::{Making, failed};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::{Outcome, text};

/// Make a region
///
/// With --image it is filled with what the last persist point has, and it is no mistake if it is there already.
#[derive(Args, Debug)]
pub(super) struct Create {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    #[command(flatten)]
    making: Making,
    /// Write {"created":true} with what was restored
    #[arg(long)]
    json: bool,
}

/// Remove a region, or what is left of one
#[derive(Args, Debug)]
pub(super) struct Remove {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// Remove it though processes have it open: they keep what they have, and nobody else finds it
    #[arg(long)]
    force: bool,
    /// Write {"removed":true}
    #[arg(long)]
    json: bool,
}

/// Write all that a region has to its image, so that it survives the machine's restart
#[derive(Args, Debug)]
pub(super) struct Persist {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// The image
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Write {"point":…,"keys":…,"bytes":…}
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(super) fn run(&self) -> Result<Outcome> {
        let opened = match &self.making.image {
            Some(_) => self.making.open(&self.path)?.1,
            None => {
                if Region::open(&self.path).is_ok() {
                    let path = self.path.display();
                    return Err(Failure::Refused(format!(
                        "{path}: there is a region already; 'weald hot rm' removes it"
                    )));
                }
                Region::create(&self.path, &self.making.options()).map_err(failed(&self.path))?;
                None
            }
        };
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                let mut object = object.truth("created", opened != Some(Opened::AsItWas))?;
                if let Some(Opened::Restored(restored, _)) = opened {
                    object = object.number("restored", restored.keys)?;
                    object = object.number("damaged_bytes", restored.damaged_bytes)?;
                    if let Some(lost) = restored.lost {
                        object = object.number("lost", lost)?;
                    }
                }
                Ok(object)
            })?;
        } else if let Some(opened) = opened {
            out.line(told(&opened))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

/// How a persistent region was found, in a sentence.
pub(super) fn told(opened: &Opened) -> String {
    match opened {
        Opened::AsItWas => "there already, and sound".to_owned(),
        Opened::Fresh => "made, empty".to_owned(),
        Opened::Lost(reason) => {
            format!("made, empty: what was there is lost ({reason}), and there was no image")
        }
        Opened::Restored(restored, reason) => {
            let lost = match restored.lost {
                Some(0) => String::new(),
                Some(lost) => format!("; {} lost with damaged parts", text::counted(lost, "key")),
                None => "; its header is damaged, and nobody knows how many keys are lost".to_owned(),
            };
            let keys = text::counted(restored.keys, "key");
            format!("restored {keys} from the image ({reason}){lost}")
        }
    }
}

impl Remove {
    pub(super) fn run(&self) -> Result<Outcome> {
        Region::remove(&self.path, self.force).map_err(failed(&self.path))?;
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| object.truth("removed", true))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

impl Persist {
    pub(super) fn run(&self) -> Result<Outcome> {
        let failed = failed(&self.path);
        // It has to be there: an empty one that is made here would replace the image by nothing.
        let region = Region::open(&self.path).map_err(&failed)?;
        let session = region.join("weald hot persist").map_err(&failed)?;
        let point = session
            .save(&weald::vfs::Disk::new(), &self.image)
            .map_err(&failed)?;
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .number("point", point.number)?
                    .number("keys", point.keys)?
                    .number("bytes", point.bytes)
            })?;
        } else {
            let keys = text::counted(point.keys, "key");
            out.line(format_args!(
                "point {}: {keys}, {}",
                point.number,
                text::size(point.bytes)
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}
