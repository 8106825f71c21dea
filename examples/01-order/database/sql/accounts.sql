-- Demo passwords, the same as in manifests/secrets.yaml: change both for anything but a trial.
CREATE USER IF NOT EXISTS 'dksl'@'%' IDENTIFIED BY '123456';
-- This covers globaltx_undo too, which the application's own connection writes.
GRANT SELECT, INSERT, UPDATE, DELETE ON `order`.* TO 'dksl'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON product.* TO 'dksl'@'%';

-- The account of the sidecars' phase two: it reads the tables' shapes, creates globaltx_undo
-- (manageUndoTable) and restores rows.
CREATE USER IF NOT EXISTS 'globaltx'@'%' IDENTIFIED BY 'globaltx-demo';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON `order`.* TO 'globaltx'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON product.* TO 'globaltx'@'%';
