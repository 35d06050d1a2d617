// Nothing: tables need no special memory here.
#pragma once
