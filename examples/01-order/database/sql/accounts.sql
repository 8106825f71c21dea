-- Demo passwords, the same as in manifests/secrets.yaml: change both for anything but a trial.
CREATE USER IF NOT EXISTS 'dksl'@'%' IDENTIFIED BY '123456';
-- This covers globaltx_undo and globaltx_guard too, which the application's own connection writes.
GRANT SELECT, INSERT, UPDATE, DELETE ON `order`.* TO 'dksl'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON product.* TO 'dksl'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON bank_a.* TO 'dksl'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON bank_b.* TO 'dksl'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON bank.* TO 'dksl'@'%';

-- The account of the sidecars' phase two: it reads the tables' shapes, creates those two tables
-- (manageUndoTable) and restores rows.
CREATE USER IF NOT EXISTS 'globaltx'@'%' IDENTIFIED BY 'globaltx-demo';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON `order`.* TO 'globaltx'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON product.* TO 'globaltx'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON bank_a.* TO 'globaltx'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON bank_b.* TO 'globaltx'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON bank.* TO 'globaltx'@'%';
