"""`deepfake extract`."""

from __future__ import annotations

from pipeline.commands._options import Data, Output, Overrides, Preset, configuration_of_any_layout


def extract(
    preset: Preset = "folder",
    data: Data = None,
    output: Output = None,
    overrides: Overrides = None,
) -> int:
    """Cut the faces out of a dataset.

    Divides a dataset, cuts the faces out of its clips and writes TFRecords by split, a report
    and a contact sheet. Started again, it goes on where it stopped. Hidden files are not looked
    at.

    Exit status: 0 everything that was given gave faces, 4 something was not (documents such as
    .txt and .csv do not count), which the output says with the reason, 2 wrong usage or data, 1
    failure.
    """
    from pipeline.console import Console
    from pipeline.inputs import INCOMPLETE, index, make_output
    from preprocessing.manifest.checks import left_out

    config = configuration_of_any_layout(preset, overrides, data, output)
    folder = make_output(config.output)
    manifest = index(config)
    with Console(folder / "logs" / "extract.log") as console:
        from preprocessing.extraction.dataset_extraction import extract_dataset

        settings = config.extraction.crop_settings(config.data.precropped)
        workers = config.extraction.workers
        summary = extract_dataset(
            manifest, settings, folder / "faces", workers=workers, say=console.say
        )
    missing = left_out(manifest.root, manifest.clips, manifest.problems)
    return INCOMPLETE if missing or summary["clips_reported"] else 0
