"""The gRPC generator of grpcio-tools, which is built into its protoc, as a plugin that buf can call."""

import pathlib
import sys
import tempfile

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
response = plugin_pb2.CodeGeneratorResponse(
    supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
)
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    image = folder / "image.binpb"
    image.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    out = folder / "out"
    out.mkdir()
    options = ["protoc", f"--descriptor_set_in={image}", f"--grpc_python_out={out}"]
    if protoc.main([*options, *request.file_to_generate]) != 0:
        sys.exit("grpc_tools.protoc failed")
    for path in sorted(out.rglob("*.py")):
        response.file.add(name=str(path.relative_to(out)), content=path.read_text())
sys.stdout.buffer.write(response.SerializeToString())
