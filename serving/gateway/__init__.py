"""The gateway: a picture or video over HTTP -> faces -> any TensorFlow Serving -> a verdict.

deepfake gateway --server grpc://HOST:8500 --model NAME --model-base DIR
curl --data-binary @clip.mp4 http://127.0.0.1:8080/v1/verdict
"""
