"""The messages of the contract, as proto/denoised/v1 defines and explains them.

Every file `NAME.proto` is a module `NAME_pb2`; the bare gRPC stubs are in `NAME_pb2_grpc`.
"""
