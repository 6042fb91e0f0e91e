-- Whether a response goes on without a watcher is in its sealed request, which whoever takes it over opens anyway.
ALTER TABLE response_streams DROP COLUMN is_background;
