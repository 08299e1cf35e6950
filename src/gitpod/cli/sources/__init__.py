"""Where settings come from: the user's configuration file, a project's file, and the tokens that `login` keeps."""
