"""Write a model as ONNX, OpenVINO or torch.export: the same as `brainmri export`; --help tells more."""

from brainmri.cli.main import run

if __name__ == "__main__":
    run("export")
