"""Compose text -> Spec: what an organization wants running. Pure: no files, no network, no framework."""

from moorage.compose.environment import EnvVar, as_env_file, environment, served_names
from moorage.compose.parse import Parsed, parse
from moorage.compose.problems import Problem, SpecInvalid
from moorage.compose.spec import Binding, Driver, Flag, Gpus, HealthSpec, ModelSpec, ScaleSpec, Spec

__all__ = [
    "Binding",
    "Driver",
    "EnvVar",
    "Flag",
    "Gpus",
    "HealthSpec",
    "ModelSpec",
    "Parsed",
    "Problem",
    "ScaleSpec",
    "Spec",
    "SpecInvalid",
    "as_env_file",
    "environment",
    "parse",
    "served_names",
]
