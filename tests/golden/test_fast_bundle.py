"""A ``wall-oss-fast`` checkpoint exported and run: three graphs, and an arm that holds on nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import wall_edge_engines
from wall_edge_engines import EngineSettings
from wall_edge_engines.plan.onnx_work import bundle_workload
from wall_edge_export.bundle.options import ExportOptions
from wall_edge_export.bundle.pipeline import export_bundle
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.plan.model_work import model_workload
from wall_edge_export.plan.source import plan_source
from wall_edge_export.quantize.precision import load_recipe
from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

from tests.unit.policies.test_fast import tiny_tokenizer
from wall_edge.bench.policy.measure import measure
from wall_edge.bench.policy.run import Options
from wall_edge.bundle import Bundle, FastActions, FastSettings
from wall_edge.errors import CheckpointError, ConfigError, PolicyError
from wall_edge.policies.action_policy import action_policy
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.fast.policy import FastPolicy, fast_codec
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.transforms import physical
from wall_edge.verification.goldens import synthetic_observation
from wall_edge.verification.verify import verify

SETTINGS = FastSettings(scale=10.0, vocab_size=2048, min_token=-354)


@pytest.fixture(scope="module")
def fast_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FAST tokenizer's folder, as physical-intelligence/fast has it."""
    folder = tmp_path_factory.mktemp("fast")
    tiny_tokenizer(folder / "tokenizer.json", SETTINGS)
    (folder / "processor_config.json").write_text(json.dumps(vars(SETTINGS)))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny-fast"
    write_random_checkpoint("tiny-fast", folder, dtype="fp32")
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, fast_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "fast"
    export_bundle(Checkpoint(checkpoint), out, options=ExportOptions(fast=fast_folder))
    return Bundle(out)


def test_fast_actions_need_no_expert(bundle: Bundle) -> None:
    assert list(bundle.manifest.graphs) == ["vision", "prefix", "lm_head"]
    assert bundle.manifest.actions == FastActions(SETTINGS)
    assert bundle.manifest.policy == "wall-oss, FAST actions"
    assert "noise" not in bundle.goldens
    assert "fast_tokenizer.json" in bundle.manifest.files


def test_the_shape_s_plan_is_the_bundle_s(bundle: Bundle) -> None:
    source = plan_source("tiny-fast")
    planned = model_workload(source.shape, source.graph_inputs, load_recipe("fp32"), source.prompt_tokens)
    assert bundle_workload(bundle) == planned
    assert list(planned.uses) == ["vision", "prefix", "word", "lm_head"]


def test_every_stage_agrees_with_the_goldens(bundle: Bundle) -> None:
    checks = verify(bundle, wall_edge_engines.load(bundle))
    assert {"image_embeds", "keys.0", "values.1", "action_logits", "text_logits"} <= {c.stage for c in checks}
    assert [check.stage for check in checks if not check.ok] == []


def test_a_random_model_speaks_no_actions_and_the_arm_holds(bundle: Bundle) -> None:
    encoder = Encoder.on(wall_edge_engines.load(bundle), bundle.manifest, Prompts.of(bundle))
    policy = action_policy(bundle, encoder)
    assert isinstance(policy, FastPolicy)
    with pytest.raises(PolicyError, match=r"in an action chunk|did not end|expected"):
        policy.chunk(synthetic_observation(bundle.manifest), "touch the red block.")


def test_a_chunk_in_the_model_s_own_words_comes_back(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real session and prompts; only what the vocabulary head would say is given."""
    manifest, prompts = bundle.manifest, Prompts.of(bundle)
    policy = action_policy(bundle, Encoder.on(wall_edge_engines.load(bundle), manifest, prompts))
    codec = fast_codec(bundle)
    wanted = np.random.default_rng(0).uniform(-0.5, 0.5, (manifest.horizon, manifest.dof)).astype(np.float32)
    wanted[1:] = wanted[0]  # a posture held: few coefficients
    first = int(prompts.tokenizer.encode("<|action_token_0|>")[0])
    said = [first + token for token in codec.encode(wanted)] + [prompts.tokenizer.ids.turn_end]

    def speak(*_: object) -> Iterator[int]:
        yield from said

    monkeypatch.setattr(Encoder, "greedy_tokens", speak)
    observation = synthetic_observation(manifest)
    joints = policy.chunk(observation, "hold still.")
    slots = np.argsort(np.argsort(manifest.embodiment.action.slots))
    expected = physical(manifest, wanted[:, slots], observation.state)
    np.testing.assert_allclose(joints, expected, atol=0.5)
    assert np.abs(np.diff(joints, axis=0)).max() < 0.2


def test_a_chunk_that_is_none_is_not_timed_and_its_stages_are(bundle: Bundle) -> None:
    report = measure(bundle, EngineSettings(), Options(repeats=2, warm_up=1))
    assert set(report.rows) == {"vision", "prefix", "word", "lm_head"}
    assert report.notes[0].startswith("no chunk to time end to end: ")
    with pytest.raises(ConfigError, match="--steps 5 for a FAST policy"):
        measure(bundle, EngineSettings(), Options(steps=5))


def test_auto_is_refused_for_fast_actions(checkpoint: Path, fast_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(precision="auto", max_action_error=0.1, fast=fast_folder)
    with pytest.raises(ConfigError, match="auto measures flow chunks"):
        export_bundle(Checkpoint(checkpoint), tmp_path / "bundle", options=options)


def test_tokens_of_the_later_generation_are_not_fast_s(fast_folder: Path, tmp_path: Path) -> None:
    """They have the same names, and would be decoded to other motions."""
    write_random_checkpoint("tiny-0.5", tmp_path / "later")
    options = ExportOptions(fast=fast_folder)
    with pytest.raises(CheckpointError, match=r"--fast for a checkpoint of wall-oss-0\.5's generation"):
        export_bundle(Checkpoint(tmp_path / "later"), tmp_path / "bundle", options=options)


def test_words_cannot_be_guided(checkpoint: Path, fast_folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(guidance=True, fast=fast_folder)
    with pytest.raises(ConfigError, match="--guidance with --fast; expected a flow policy: FAST actions are"):
        export_bundle(Checkpoint(checkpoint), tmp_path / "bundle", options=options)


def test_a_folder_without_a_fast_tokenizer_is_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"processor_config\.json"):
        export_bundle(Checkpoint(checkpoint), tmp_path / "bundle", options=ExportOptions(fast=tmp_path))
