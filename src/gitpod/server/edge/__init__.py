"""What a request passes before its handler: header checks, error translation, strict codecs."""
