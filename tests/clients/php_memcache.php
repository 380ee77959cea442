<?php
// Stores pages through pecl/memcache, PHP's older client: "consistent", its default, or "standard".

[, $mode] = $argv;
ini_set('memcache.hash_strategy', $mode);
ini_set('memcache.allow_failover', '0');
$pages = new Memcache();
foreach (array_slice($argv, 2) as $server) {
    [$host, $port, $weight] = explode(':', "$server:1");
    $pages->addServer($host, (int) $port, false, (int) $weight);
}
// By default pages of 20,000 bytes and more are compressed, in a form of its own.
$pages->setCompressThreshold(PHP_INT_MAX);

while (($line = fgets(STDIN)) !== false) {
    [$key, $page] = explode("\t", rtrim($line, "\n"), 2);
    if (!$pages->set($key, $page, 0, 300)) {
        fwrite(STDERR, "not stored: $key\n");
        exit(1);
    }
}
